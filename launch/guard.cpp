#include "launch/guard.h"

#include <cstdio>

#include "core/host_name.h"
#include "trainer/comm/agreement.h"

namespace muster {

void take_down(Ranks& ranks, const GuardOptions& options, const Error& error) {
  if (ranks.comm().size() == 1) return;
  std::fprintf(stderr, "muster: rank %d on %s: %s\n", ranks.comm().rank(), host_name().c_str(), error.what());
  std::fflush(stderr);
  if (options.on_fault) options.on_fault(error, false);
  ranks.abort(error.exit_code());
}

int with_ranks(const GuardOptions& options, const std::function<int(Ranks&)>& body) {
  MpiOptions mpi;
  mpi.deadline = std::chrono::milliseconds(static_cast<std::int64_t>(options.deadline_seconds * 1000));
  mpi.deadline_key = options.deadline_key;
  mpi.status = options.status;
  mpi.on_failure = [&](const std::string& line, bool mine) {
    if (mine) {
      std::fprintf(stderr, "muster: %s\n", line.c_str());
      std::fflush(stderr);
    }
    if (options.on_fault) options.on_fault(Error(ErrorCode::kPeer, line), true);
  };
  mpi.on_warning = [](const std::string& line) {
    std::fprintf(stderr, "muster: warning: %s\n", line.c_str());
  };
  Ranks ranks(mpi);
  try {
    return body(ranks);
  } catch (const AgreedError& error) {
    if (error.mine() && options.on_fault) options.on_fault(error, false);
    throw;
  } catch (const Error& error) {
    take_down(ranks, options, error);
    if (options.on_fault) options.on_fault(error, false);
    throw;
  } catch (const std::exception& error) {
    const Error bug(ErrorCode::kBug, error.what());
    take_down(ranks, options, bug);
    if (options.on_fault) options.on_fault(bug, false);
    throw bug;
  }
}

}  // namespace muster
