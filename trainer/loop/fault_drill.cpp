#include "trainer/loop/fault_drill.h"

#include <signal.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <thread>
#include <utility>

#include "core/hooked_file_system.h"
#include "core/text.h"
#include "data_loader/reading/hooked_block_reader.h"

namespace muster {
namespace {

/// What goes wrong around the training, not in it.
enum class Outside { kNothing, kNoSpace, kIoError, kReadOnly, kSlowDisk, kSlowReads, kClock };

using Strike = void (*)(torch::nn::Module& model);

struct Kind {
  const char* help;
  Strike strike;            ///< nothing: it comes from outside
  bool every_step = false;  ///< from its step on
  Outside outside = Outside::kNothing;
};

/// What the process may still allocate is cut to almost nothing; then it wants more.
void run_out_of_memory(torch::nn::Module&) {
  const rlimit limit{1, 1};
  ::setrlimit(RLIMIT_AS, &limit);
  std::vector<std::unique_ptr<char[]>> all;
  while (true) all.push_back(std::make_unique<char[]>(std::size_t{64} << 20));
}

/// The weights of the first parameter.
at::Tensor some_weights(torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  return model.parameters().front().detach().flatten();
}

void flip_a_bit(torch::nn::Module& model) {
  const at::Tensor weight = some_weights(model)[0];
  const auto bits = std::bit_cast<std::uint32_t>(weight.item<float>());
  weight.fill_(std::bit_cast<float>(bits ^ 1U));  // the last of the mantissa: no loss would ever show it
}

const std::map<std::string, Kind>& all_kinds() {
  static const std::map<std::string, Kind> kinds = {
      {"kill", {"SIGKILL to itself", [](torch::nn::Module&) { ::raise(SIGKILL); }}},
      {"suspend", {"SIGSTOP to itself: it stands still", [](torch::nn::Module&) { ::raise(SIGSTOP); }}},
      {"segfault", {"a crash by SIGSEGV", [](torch::nn::Module&) { ::raise(SIGSEGV); }}},
      {"abort", {"a crash by abort()", [](torch::nn::Module&) { std::abort(); }}},
      {"exit", {"it leaves with exit code 0, saying nothing", [](torch::nn::Module&) { std::_Exit(0); }}},
      {"exception",
       {"a model that throws", [](torch::nn::Module&) { throw std::runtime_error("a drill's exception"); }}},
      {"memory", {"no memory is left", run_out_of_memory}},
      {"hang",
       {"a step that never ends",
        [](torch::nn::Module&) {
          while (true) std::this_thread::sleep_for(std::chrono::hours(1));
        }}},
      {"nan",
       {"a weight that is no number", [](torch::nn::Module& model) { some_weights(model)[0].fill_(NAN); }}},
      {"spike",
       {"weights a million times as large", [](torch::nn::Module& model) { some_weights(model).mul_(1e6); }}},
      {"flip", {"a bit of a weight is another one", flip_a_bit}},
      {"slow",
       {"each step takes 0.2 seconds longer",
        [](torch::nn::Module&) { std::this_thread::sleep_for(std::chrono::milliseconds(200)); }, true}},
      {"disk-full", {"no space is left on its disk", nullptr, false, Outside::kNoSpace}},
      {"disk-error", {"its disk fails", nullptr, false, Outside::kIoError}},
      {"read-only", {"its disk takes no change", nullptr, false, Outside::kReadOnly}},
      {"slow-disk", {"each change of a file takes 0.1 seconds longer", nullptr, false, Outside::kSlowDisk}},
      {"slow-read", {"each read of its data takes a minute longer", nullptr, false, Outside::kSlowReads}},
      {"clock", {"its system clock jumps a day ahead", nullptr, false, Outside::kClock}},
  };
  return kinds;
}

constexpr std::uint64_t kMostRank = 1'000'000'000;

std::uint64_t number_of(std::string_view text, const std::string& whole) {
  std::uint64_t number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc{} || end != text.data() + text.size())
    fail(ErrorCode::kUsage, "--drill {}: KIND@STEP:RANK was expected, as in segfault@20:1", whole);
  return number;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> FaultDrill::kinds() {
  std::vector<std::pair<std::string, std::string>> kinds;
  for (const auto& [name, kind] : all_kinds()) kinds.emplace_back(name, kind.help);
  return kinds;
}

FaultDrill FaultDrill::parse(const std::string& text) {
  FaultDrill drill;
  std::string_view rest = text;
  if (const std::size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
    drill.rank_ =
        static_cast<int>(std::min<std::uint64_t>(number_of(rest.substr(colon + 1), text), kMostRank));
    rest = rest.substr(0, colon);
  }
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    drill.step_ = number_of(rest.substr(at + 1), text);
    rest = rest.substr(0, at);
  }
  drill.kind_ = rest;
  std::vector<std::string> names;
  for (const auto& entry : all_kinds()) names.push_back(entry.first);
  if (all_kinds().count(drill.kind_) == 0)
    fail(ErrorCode::kUsage, "--drill {}: there is no fault '{}'{}; known: {}", text, drill.kind_,
         did_you_mean(drill.kind_, names), join(names, ", "));
  return drill;
}

void FaultDrill::before_step(int rank, std::uint64_t step, torch::nn::Module& model) {
  const Kind& kind = all_kinds().at(kind_);
  if (rank != rank_ || step < step_) return;
  *has_begun_ = true;
  // Once, also where the run goes back to before that step.
  const bool now = kind.every_step || (step == step_ && !std::exchange(struck_, true));
  if (kind.strike != nullptr && now) kind.strike(model);
}

std::unique_ptr<FileSystem> FaultDrill::wrap(FileSystem& inner, int rank) {
  const Outside fault = rank == rank_ ? all_kinds().at(kind_).outside : Outside::kNothing;
  return std::make_unique<HookedFileSystem>(
      inner, [fault, begun = has_begun_](const std::filesystem::path& path, bool changes) {
        static const std::map<Outside, int> errors = {
            {Outside::kNoSpace, ENOSPC}, {Outside::kReadOnly, EROFS}, {Outside::kIoError, EIO}};
        if (!changes || !*begun) return;
        if (fault == Outside::kSlowDisk) std::this_thread::sleep_for(std::chrono::milliseconds(100));
        if (const auto error = errors.find(fault); error != errors.end())
          throw Error(ErrorCode::kStorage, std::strerror(error->second), path.string());
      });
}

std::function<double()> FaultDrill::clock(int rank) const {
  constexpr double kDay = 24 * 3600;
  const bool jumps = rank == rank_ && all_kinds().at(kind_).outside == Outside::kClock;
  return [jumps, begun = has_begun_] { return seconds_since_epoch() + (jumps && *begun ? kDay : 0); };
}

ReaderWrapper FaultDrill::reads(int rank) const {
  if (rank != rank_ || all_kinds().at(kind_).outside != Outside::kSlowReads) return {};
  return [begun = has_begun_](std::unique_ptr<BlockReader> inner) {
    return make_hooked_block_reader(std::move(inner), [begun](std::uint32_t, std::size_t) {
      if (*begun) std::this_thread::sleep_for(std::chrono::minutes(1));
    });
  };
}

}  // namespace muster
