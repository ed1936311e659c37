#include "launch/stack.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

namespace muster {
namespace {

constexpr int kMostFrames = 64;
constexpr int kSkipped = 2;  ///< the handler, and the kernel's return from it

/// Written in the handler, read after `count` is set.
struct Frames {
  std::array<void*, kMostFrames> addresses{};
  std::atomic<int> count{-1};
  pthread_t main{};
  bool installed = false;
};

Frames& frames() {
  static Frames all;
  return all;
}

int signal_number() { return SIGRTMIN + 5; }

void on_ask(int) {
  const int saved = errno;
  frames().count.store(::backtrace(frames().addresses.data(), kMostFrames));
  errno = saved;
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                         std::free);
  return status == 0 ? std::string(text.get()) : std::string(name);
}

std::string describe(void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return fmt::format("{}", address);
  const auto offset = [&](const void* base) {
    return reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(base);
  };
  if (info.dli_sname != nullptr)
    return fmt::format("{} + {:#x}", demangled(info.dli_sname), offset(info.dli_saddr));
  return fmt::format("{}(+{:#x})", std::filesystem::path(info.dli_fname).filename().string(),
                     offset(info.dli_fbase));
}

}  // namespace

void install_stack_handler() {
  std::array<void*, 4> warm_up{};
  (void)::backtrace(warm_up.data(), 4);  // the first call loads a library: never inside a handler
  frames().main = ::pthread_self();
  struct sigaction action {};
  action.sa_handler = on_ask;
  action.sa_flags = SA_RESTART;
  frames().installed = sigaction(signal_number(), &action, nullptr) == 0;
}

std::vector<std::string> stack_of_main_thread() {
  if (!frames().installed || ::pthread_equal(::pthread_self(), frames().main) != 0) return {};
  frames().count.store(-1);
  if (::pthread_kill(frames().main, signal_number()) != 0) return {};
  for (int tries = 0; tries < 100 && frames().count.load() < 0; ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::vector<std::string> stack;
  for (int i = kSkipped; i < frames().count.load(); ++i)
    stack.push_back(describe(frames().addresses.at(static_cast<std::size_t>(i))));
  return stack;
}

}  // namespace muster
