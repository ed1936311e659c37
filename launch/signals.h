#pragma once
// What signals ask of a run.

#include "trainer/loop/trainer.h"

namespace muster {

/// Filled by the handlers below.
StopRequests& signal_requests();
/// How often TERM or INT came.
int stop_signals();

/// What a second Ctrl-C does.
enum class SecondInterrupt {
  kEndsAtOnce,  ///< the default: this process dies of it
  kCounts,      ///< as the first: stop_signals() tells
};

/// USR1, TERM, INT and HUP: checkpoint and stop; USR2: checkpoint and go on. First thing in `main`.
void install_signal_handlers(SecondInterrupt second = SecondInterrupt::kEndsAtOnce);

}  // namespace muster
