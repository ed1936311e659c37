#include "launch/restarts.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

constexpr std::array<ErrorCode, 8> kOurs = {
    ErrorCode::kUsage,   ErrorCode::kData,         ErrorCode::kPeer,   ErrorCode::kBug,
    ErrorCode::kStorage, ErrorCode::kCheckpointed, ErrorCode::kConfig, ErrorCode::kNothingToDo};
/// Another start may do better.
constexpr std::array<ErrorCode, 3> kPassing = {ErrorCode::kPeer, ErrorCode::kBug, ErrorCode::kStorage};
constexpr double kLongestWait = 60;

bool among(std::span<const ErrorCode> codes, int code) {
  return std::ranges::any_of(codes, [&](ErrorCode known) { return static_cast<int>(known) == code; });
}

}  // namespace

int exit_code_of_ranks(int mpirun_code) {
  if (mpirun_code == 0 || among(kOurs, mpirun_code)) return mpirun_code;
  constexpr std::array<int, 6> kOwnFault = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSYS};
  const bool own = std::ranges::any_of(kOwnFault, [&](int signal) { return mpirun_code == 128 + signal; });
  return static_cast<int>(own ? ErrorCode::kBug : ErrorCode::kPeer);
}

RestartRule::Decision RestartRule::after(const StartEnd& end) {
  if (!among(kPassing, end.code)) return {};
  if (last_ && last_->step == end.step && last_->code == end.code && last_->cause == end.cause) {
    return {false, 0,
            fmt::format("it failed twice in the same way after step {}: another start would, too", end.step)};
  }
  if (left_ == 0) return {false, 0, last_ ? "no restarts are left" : ""};
  if (last_ && end.step > last_->step) wait_ = 1;
  last_ = end;
  --left_;
  const Decision decision{true, wait_, ""};
  wait_ = std::min(kLongestWait, 2 * wait_);
  return decision;
}

}  // namespace muster
