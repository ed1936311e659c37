// muster-probe MEMORY_BYTES SECONDS_PER_FILE DECLARED_BYTES ends|all: opens the HDF5 files whose paths come
// on stdin, each ended by a NUL, and reads the first and last row of every dataset, or all of them. It
// answers "muster-probe ready", then each path with one JSON line on stdout: {"datasets": […]} or {"code": …,
// "error": …, "where": …}. Started by probe_files; a damaged file may crash or hang it, which is what it is
// for.

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <stdexcept>
#include <utility>

#include "core/json.h"
#include "data_loader/reading/partition_file.h"
#include "data_loader/reading/probe.h"

namespace {

using muster::DatasetLayout;
using muster::ErrorCode;
using muster::Json;

// A sanitizer reserves terabytes of address space, so a build with one goes without the limit on it.
#if defined(__has_feature)  // clang
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MUSTER_PROBE_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MUSTER_PROBE_SANITIZED
#endif
#if defined(MUSTER_PROBE_SANITIZED)
constexpr bool kLimitsMemory = false;
#else
constexpr bool kLimitsMemory = true;
#endif

void limit(int resource, std::uint64_t value) {
  const rlimit both{value, value};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0)
    throw std::runtime_error("cannot set limits");
}

/// Death by SIGALRM unless called again within so many seconds; 0 = never.
void set_alarm(double seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(seconds);
  timer.it_value.tv_usec = static_cast<suseconds_t>((seconds - std::floor(seconds)) * 1e6);
  if (::setitimer(ITIMER_REAL, &timer, nullptr) != 0) throw std::runtime_error("cannot set the alarm");
}

/// Bytes that the dataset says it holds, at one byte for what is no number; the largest number if that
/// overflows.
std::uint64_t declared_bytes(const DatasetLayout& layout) {
  const bool text = layout.dtype == muster::DType::kString;
  std::uint64_t bytes = text           ? std::max<std::uint64_t>(1, layout.text_bytes)
                        : layout.dtype ? muster::size_of(*layout.dtype)
                                       : 1;
  for (const std::uint64_t extent : layout.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) return std::numeric_limits<std::uint64_t>::max();
  }
  return bytes;
}

Json to_json(const DatasetLayout& layout) {
  Json json{{"path", layout.path},       {"member", layout.member}, {"type", layout.type_name},
            {"shape", layout.shape},     {"chunk", layout.chunk},   {"filters", layout.filters},
            {"refusal", layout.refusal}, {"single", layout.single}, {"text_bytes", layout.text_bytes}};
  if (layout.dtype) json["dtype"] = std::string(muster::to_string(*layout.dtype));
  return json;
}

Json probe(const std::string& path, const muster::ProbeLimits& limits) {
  try {
    muster::PartitionFile file(path);
    Json datasets = Json::array();
    std::string tried;
    for (const DatasetLayout& layout : file.layouts()) {
      if (declared_bytes(layout) > limits.declared_bytes) {
        throw muster::Error(ErrorCode::kData,
                            fmt::format("declares more than {} bytes", limits.declared_bytes),
                            path + ":" + layout.location());
      }
      // Once for all members of a compound dataset.
      if (layout.refusal.empty() && layout.path != std::exchange(tried, layout.path))
        file.try_rows(layout.path, limits.every_row);
      datasets.push_back(to_json(layout));
    }
    return {{"datasets", std::move(datasets)}};
  } catch (const muster::Error& error) {
    return {{"code", error.exit_code()}, {"error", error.message()}, {"where", error.where()}};
  } catch (const std::bad_alloc&) {
    return {{"code", static_cast<int>(ErrorCode::kData)},
            {"error", "needs too much memory to open"},
            {"where", path}};
  }
}

int serve(const muster::ProbeLimits& limits) {
  limit(RLIMIT_CORE, 0);
  if (kLimitsMemory) limit(RLIMIT_AS, limits.memory_bytes);
  std::cout << "muster-probe ready\n" << std::flush;
  for (std::string path; std::getline(std::cin, path, '\0');) {
    set_alarm(limits.seconds_per_file);
    const Json answer = probe(path, limits);
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
    set_alarm(0);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string rows = argc == 5 ? argv[4] : "";
    if (rows != "ends" && rows != "all")
      throw std::invalid_argument(
          "usage: muster-probe MEMORY_BYTES SECONDS_PER_FILE DECLARED_BYTES ends|all");
    return serve({std::stoull(argv[1]), std::stod(argv[2]), std::stoull(argv[3]), rows == "all"});
  } catch (const std::exception& error) {
    std::cerr << "muster-probe: " << error.what() << '\n';
    return static_cast<int>(ErrorCode::kUsage);
  }
}
