#pragma once
// USR1 and TERM: checkpoint and stop (75). USR2: checkpoint and go on.

#include "trainer/trainer.h"

namespace muster {

/// The requests that the handlers set. One per process, since handlers are.
StopRequests& signal_requests();
/// Installs the handlers; call first thing in main, before anything slow.
void install_signal_handlers();

}  // namespace muster
