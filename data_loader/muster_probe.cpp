// muster-probe MEMORY_BYTES SECONDS_PER_FILE DECLARED_BYTES: opens the HDF5 files whose paths come on stdin,
// each ended by a NUL, and answers "muster-probe ready", then each path with one JSON line on stdout:
// {"datasets": […]} or {"code": …, "error": …, "where": …}. Started by probe_files; a damaged file may crash
// or hang it, which is what it is for.

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <stdexcept>

#include "core/json.h"
#include "data_loader/partition_file.h"
#include "data_loader/probe.h"

namespace {

using muster::DatasetLayout;
using muster::ErrorCode;
using muster::Json;

/// Rows larger than this are not read for a try.
constexpr std::uint64_t kMostRowBytes = std::uint64_t{64} << 20;

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

/// Texts of variable length that are longer are no business of a contract anyway.
constexpr std::uint64_t kLongestText = std::uint64_t{1} << 24;

/// Reads the first and the last row, so that broken chunk indexes and filters show. A filter that is not here
/// is no damage.
void try_rows(muster::PartitionFile& file, const DatasetLayout& layout) {
  if (!layout.dtype || !layout.has_filters || layout.shape.empty() || layout.shape[0] == 0) return;
  muster::Field field;
  field.name = field.path = layout.path;
  field.dtype = *layout.dtype;
  if (field.is_text()) field.length = layout.text_bytes > 0 ? layout.text_bytes : kLongestText;
  field.shape.assign(layout.shape.begin() + 1, layout.shape.end());
  if (field.bytes_per_row() > kMostRowBytes) return;
  std::vector<std::byte> row(field.bytes_per_row());
  file.read_rows(field, 0, 1, row);
  file.read_rows(field, layout.shape[0] - 1, 1, row);
}

Json to_json(const DatasetLayout& layout) {
  Json json{{"path", layout.path},
            {"type", layout.type_name},
            {"shape", layout.shape},
            {"chunk", layout.chunk},
            {"filters", layout.filters},
            {"has_filters", layout.has_filters},
            {"text_bytes", layout.text_bytes}};
  if (layout.dtype) json["dtype"] = std::string(muster::to_string(*layout.dtype));
  return json;
}

Json probe(const std::string& path, std::uint64_t most_declared) {
  try {
    muster::PartitionFile file(path);
    Json datasets = Json::array();
    for (const DatasetLayout& layout : file.layouts()) {
      if (declared_bytes(layout) > most_declared) {
        throw muster::Error(ErrorCode::kData, fmt::format("declares more than {} bytes", most_declared),
                            path + ":" + layout.path);
      }
      try_rows(file, layout);
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
    const Json answer = probe(path, limits.declared_bytes);
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
    set_alarm(0);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 4)
      throw std::invalid_argument("usage: muster-probe MEMORY_BYTES SECONDS_PER_FILE DECLARED_BYTES");
    return serve({std::stoull(argv[1]), std::stod(argv[2]), std::stoull(argv[3])});
  } catch (const std::exception& error) {
    std::cerr << "muster-probe: " << error.what() << '\n';
    return static_cast<int>(ErrorCode::kUsage);
  }
}
