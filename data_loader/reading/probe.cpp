#include "data_loader/reading/probe.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "core/child_process.h"
#include "core/json.h"
#include "core/text.h"

namespace muster {
namespace {

using Clock = std::chrono::steady_clock;
using Answer = Result<std::vector<DatasetLayout>>;

constexpr std::size_t kMostAnswerBytes = std::size_t{64} << 20;
/// The child's own alarm comes first and names the limit; this is for a child that cannot even die by itself.
constexpr double kGraceSeconds = 2;
constexpr std::chrono::seconds kStartSeconds{60};

/// A running muster-probe and the socket it is talked to through; killed, if it still runs, when destroyed.
class Child {
 public:
  Child(const std::filesystem::path& program, const ProbeLimits& limits) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      throw Error(ErrorCode::kStorage, fmt::format("cannot start the probe: {}", std::strerror(errno)),
                  program.string());
    }
    socket_ = ends[0];
    ChildOptions options;
    options.dialogue = ends[1];
    const auto process = attempt([&] {
      process_.emplace(std::vector<std::string>{program.string(), fmt::format("{}", limits.memory_bytes),
                                                fmt::format("{}", limits.seconds_per_file),
                                                fmt::format("{}", limits.declared_bytes),
                                                limits.every_row ? "all" : "ends"},
                       options);
      return true;
    });
    ::close(ends[1]);
    if (process) return;
    ::close(socket_);
    throw Error(ErrorCode::kStorage, "as the probe, " + process.error().message(), program.string());
  }
  ~Child() { ::close(socket_); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Sends a path, ended by a NUL; false if the child is gone.
  bool ask(const std::filesystem::path& file) {
    const std::string& path = file.native();
    std::string_view left(path.c_str(), path.size() + 1);
    while (!left.empty()) {
      const ::ssize_t sent = ::send(socket_, left.data(), left.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return false;
      left.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  enum class End { kLine, kClosed, kLate, kTooLong };
  struct Reply {
    End end;
    std::string line;
  };
  /// The next line, waited for until the deadline.
  Reply answer(Clock::time_point deadline) {
    Reply reply{End::kLine, {}};
    std::array<char, 1 << 16> part;
    while (reply.line.size() <= kMostAnswerBytes) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0) return {End::kLate, {}};
      pollfd watched{socket_, POLLIN, 0};
      if (::poll(&watched, 1, static_cast<int>(left)) <= 0) continue;  // late, or a signal: the clock decides
      const ::ssize_t got = ::read(socket_, part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return {End::kClosed, {}};
      reply.line.append(part.data(), static_cast<std::size_t>(got));
      if (reply.line.back() == '\n') return reply;  // one answer at a time: a line ends what was sent
    }
    return {End::kTooLong, {}};
  }

  /// Waits for a child that closed its end; its exit code.
  int wait() { return process_->wait(); }

 private:
  std::optional<ChildProcess> process_;
  int socket_ = -1;
};

constexpr int kBySignal = 128;  ///< an exit code above stands for a signal

std::string describe_exit(int code) {
  return code > kBySignal ? ::strsignal(code - kBySignal) : fmt::format("exit code {}", code);
}

/// A child that said it is ready: what comes after that is the files' fault.
std::unique_ptr<Child> started(const std::filesystem::path& program, const ProbeLimits& limits) {
  auto child = std::make_unique<Child>(program, limits);
  const Child::Reply reply = child->answer(Clock::now() + kStartSeconds);
  if (reply.line == "muster-probe ready\n") return child;
  const std::string seen =
      reply.end == Child::End::kClosed ? describe_exit(child->wait()) : "no sign of life";
  throw Error(ErrorCode::kStorage,
              fmt::format("does not run as muster-probe ({}): install Muster again", seen), program.string());
}

Answer parse_answer(const std::string& line, const std::string& file) {
  const Json json = parse_json(line, file);
  if (json.contains("error")) {
    return Error(static_cast<ErrorCode>(member<int>(json, "code", file)),
                 member<std::string>(json, "error", file), member<std::string>(json, "where", file));
  }
  std::vector<DatasetLayout> layouts;
  for (const Json& entry : member<Json>(json, "datasets", file)) {
    DatasetLayout layout;
    layout.path = member<std::string>(entry, "path", file);
    if (entry.contains("dtype")) layout.dtype = parse_dtype(member<std::string>(entry, "dtype", file));
    layout.type_name = member<std::string>(entry, "type", file);
    layout.shape = member<std::vector<std::uint64_t>>(entry, "shape", file);
    layout.chunk = member<std::vector<std::uint64_t>>(entry, "chunk", file);
    layout.filters = member<std::vector<std::string>>(entry, "filters", file);
    layout.refusal = member<std::string>(entry, "refusal", file);
    layout.single = member<bool>(entry, "single", file);
    layout.member = member<std::vector<std::string>>(entry, "member", file);
    layout.text_bytes = member<std::uint64_t>(entry, "text_bytes", file);
    layouts.push_back(std::move(layout));
  }
  return layouts;
}

/// The answer in a line; a child with a damaged memory may say anything.
Answer understood(const std::string& line, const std::filesystem::path& file) {
  try {
    return parse_answer(line, file.string());
  } catch (const Error& error) {
    return Error(ErrorCode::kData,
                 fmt::format("is damaged: the probe answers nonsense ({})", error.message()), file.string());
  }
}

constexpr std::string_view kHarmful = "is damaged: opening it";

/// Error for a file whose child gave no answer.
Error refusal(Child& child, Child::End end, const std::filesystem::path& file, const ProbeLimits& limits) {
  std::string reason;
  switch (end) {
    case Child::End::kLate:
      reason = fmt::format("took over {} s", limits.seconds_per_file);
      break;
    case Child::End::kTooLong:
      reason = fmt::format("describes itself in over {}", human_bytes(kMostAnswerBytes));
      break;
    default: {
      const int code = child.wait();
      const bool alarm = code == kBySignal + SIGALRM;
      reason = alarm ? fmt::format("took over {} s", limits.seconds_per_file)
                     : fmt::format("crashed libhdf5 ({})", describe_exit(code));
    }
  }
  return {ErrorCode::kData, fmt::format("{} {}; copy or generate it again", kHarmful, reason), file.string()};
}

}  // namespace

bool is_harmful(const Error& answer) { return answer.message().starts_with(kHarmful); }

std::vector<Result<std::vector<DatasetLayout>>> probe_files(const std::filesystem::path& program,
                                                            std::span<const std::filesystem::path> files,
                                                            const ProbeLimits& limits) {
  std::vector<Answer> answers;
  std::unique_ptr<Child> child;
  for (const std::filesystem::path& file : files) {
    if (!child) child = started(program, limits);
    const auto allowed = std::chrono::duration<double>(limits.seconds_per_file + kGraceSeconds);
    const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(allowed);
    const Child::Reply reply =
        child->ask(file) ? child->answer(deadline) : Child::Reply{Child::End::kClosed, {}};
    if (reply.end == Child::End::kLine) {
      answers.push_back(understood(reply.line, file));
      continue;
    }
    answers.emplace_back(refusal(*child, reply.end, file, limits));
    child.reset();
  }
  return answers;
}

}  // namespace muster
