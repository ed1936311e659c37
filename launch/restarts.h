#pragma once
// Whether a training that ended is started again: a pure function of how its starts ended.

#include <cstdint>
#include <optional>
#include <string>

namespace muster {

/// How one start of a training ended.
struct StartEnd {
  int code = 0;            ///< ours, see exit_code_of_ranks
  std::uint64_t step = 0;  ///< optimizer steps done when it ended
  std::string cause;       ///< what the run recorded of it, as far as it could: a fault's message; or ""
  int recorded = -1;       ///< the code that goes with what the run's events say of its end; -1: nothing
};

/// The exit code that stands for what mpirun left with: ours as they are; a rank that was killed is a peer
/// lost (69), one that died of its own fault a bug (70), anything else of mpirun's a peer lost.
int exit_code_of_ranks(int mpirun_code);

/// Decides after each start of one training.
class RestartRule {
 public:
  explicit RestartRule(std::uint64_t restarts) : left_(restarts) {}

  struct Decision {
    bool again = false;
    double wait_seconds = 0;  ///< before the next start: 1, 2, 4 … 60; from 1 again once it got further
    std::string reason;       ///< for people: why not, or ""
  };
  Decision after(const StartEnd& end);

 private:
  std::uint64_t left_;
  std::optional<StartEnd> last_;
  double wait_ = 1;
};

}  // namespace muster
