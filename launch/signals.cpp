#include "launch/signals.h"

#include <csignal>

namespace muster {

StopRequests& signal_requests() {
  static StopRequests requests;
  return requests;
}

namespace {

std::atomic<int>& stops() {
  static std::atomic<int> count{0};
  return count;
}

static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free,
              "a signal handler may only touch lock-free atomics");

void on_stop(int) {
  stops().fetch_add(1);
  signal_requests().stop.store(true);
}
/// However often it comes: schedulers repeat theirs, and nobody grows impatient.
void on_gentle_stop(int) { signal_requests().stop.store(true); }
void on_save(int) { signal_requests().save.store(true); }

void install(int signal, void (*handler)(int), int flags = SA_RESTART) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(signal, &action, nullptr);
}

}  // namespace

int stop_signals() { return stops().load(); }

void install_signal_handlers(SecondInterrupt second) {
  signal_requests();  // made here, never inside a handler
  stops();
  install(SIGUSR1, on_gentle_stop);
  install(SIGTERM, on_stop);
  install(SIGINT, on_stop, second == SecondInterrupt::kEndsAtOnce ? SA_RESTART | SA_RESETHAND : SA_RESTART);
  install(SIGHUP, on_gentle_stop);
  install(SIGPIPE, SIG_IGN);  // the console may go away, the training goes on
  install(SIGUSR2, on_save);
}

}  // namespace muster
