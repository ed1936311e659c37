#include "core/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

namespace muster {
namespace {

[[noreturn]] void fail_starting(const std::string& program, int cause) {
  throw Error(ErrorCode::kConfig, fmt::format("cannot be started: {}", std::strerror(cause)), program);
}

/// What posix_spawn is to do with descriptors, signals and groups.
class SpawnSetup {
 public:
  SpawnSetup(const ChildOptions& options, int pipe_end) {
    posix_spawn_file_actions_init(&actions_);
    if (options.dialogue >= 0) {
      posix_spawn_file_actions_adddup2(&actions_, options.dialogue, STDIN_FILENO);
      posix_spawn_file_actions_adddup2(&actions_, options.dialogue, STDOUT_FILENO);
      posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    } else {
      posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    if (!options.output.empty()) {
      posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, options.output.c_str(),
                                       O_WRONLY | O_CREAT | O_APPEND, 0666);
      posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO, STDERR_FILENO);
    }
    if (pipe_end >= 0) posix_spawn_file_actions_adddup2(&actions_, pipe_end, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
    posix_spawnattr_init(&attributes_);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes_, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes_, &signals);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

/// This process's environment with the additions in the place of variables of the same name.
std::vector<std::string> merged(const std::vector<std::string>& additions) {
  const auto name = [](const std::string& entry) { return entry.substr(0, entry.find('=')); };
  std::vector<std::string> all = additions;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const std::string& addition : additions) replaced = replaced || name(addition) == name(*entry);
    if (!replaced) all.emplace_back(*entry);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& command, const ChildOptions& options) {
  ensure(!command.empty(), "a child without a program");
  std::array<int, 2> ends{-1, -1};
  if (options.piped && ::pipe2(ends.data(), O_CLOEXEC) != 0) fail_starting(command[0], errno);
  std::vector<std::string> arguments = command;
  std::vector<std::string> environment = merged(options.environment);
  const SpawnSetup setup(options, ends[1]);
  const int cause = ::posix_spawnp(&pid_, command[0].c_str(), setup.actions(), setup.attributes(),
                                   pointers(arguments).data(), pointers(environment).data());
  if (ends[1] >= 0) ::close(ends[1]);
  pipe_ = ends[0];
  if (cause == 0) return;
  if (pipe_ >= 0) ::close(pipe_);
  fail_starting(command[0], cause);
}

ChildProcess::~ChildProcess() {
  if (!code_) {
    signal_group(SIGKILL);
    (void)reap(true);
  }
  if (pipe_ >= 0) ::close(pipe_);
}

void ChildProcess::signal(int number) const {
  if (!code_) ::kill(pid_, number);
}

void ChildProcess::signal_group(int number) const {
  if (!code_) ::kill(-pid_, number);
}

std::optional<int> ChildProcess::reap(bool block) {
  if (code_) return code_;
  siginfo_t ended{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOWAIT | (block ? 0 : WNOHANG)) != 0) {
    if (errno != EINTR) break;
  }
  if (ended.si_pid == 0) return std::nullopt;
  ::kill(-pid_, SIGKILL);  // what it left behind; until it is reaped, its group is nobody else's
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return code_;
}

std::optional<int> ChildProcess::wait(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!reap(false) && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return code_;
}

int ChildProcess::wait() {
  const std::optional<int> code = reap(true);
  ensure(code.has_value(), "a child that was waited for still runs");
  return *code;
}

std::optional<std::string> ChildProcess::read_line() {
  std::array<char, 4096> part;
  while (true) {
    if (const std::size_t end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    const ::ssize_t got = ::read(pipe_, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    unread_.append(part.data(), static_cast<std::size_t>(got));
  }
  if (unread_.empty()) return std::nullopt;
  return std::exchange(unread_, "");
}

}  // namespace muster
