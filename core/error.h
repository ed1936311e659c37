#pragma once
// Errors: `Error` is thrown when the run ends; `Result<T>` is returned where the caller has a policy for
// failure.

#include <fmt/format.h>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace muster {

/// Why a run ended. The value is the process's exit code, chosen so that a scheduler can act on it.
enum class ErrorCode {
  kUsage = 64,         ///< the command line is wrong
  kData = 65,          ///< data breaks its contract, or the loss is not finite: retrying won't help
  kPeer = 69,          ///< a peer or the network was lost
  kBug = 70,           ///< a bug, ours or the user model's
  kStorage = 74,       ///< storage failed, or a checkpoint is damaged
  kCheckpointed = 75,  ///< checkpointed on request: run me again
  kConfig = 78,        ///< the config is wrong, or does not fit in memory
  kNothingToDo = 99,   ///< the run is finished already, or a newer start owns it
};

/// One failure: a code, one line that says what and how to mend it, and where ("file:line:column",
/// "file:dataset[row]", "" if nowhere in particular). `what()` is "where: message". Copies share their texts:
/// copying, as throwing and catching do, cannot fail.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, std::string where = {})
      : code_(code), texts_(make_texts(std::move(message), std::move(where))) {}

  const char* what() const noexcept override { return texts_->what.c_str(); }
  ErrorCode code() const { return code_; }
  int exit_code() const { return static_cast<int>(code_); }
  const std::string& message() const { return texts_->message; }
  const std::string& where() const { return texts_->where; }

 private:
  struct Texts {
    std::string message, where, what;
  };
  static std::shared_ptr<const Texts> make_texts(std::string message, std::string where) {
    std::string what = where.empty() ? message : where + ": " + message;
    return std::make_shared<const Texts>(Texts{std::move(message), std::move(where), std::move(what)});
  }

  ErrorCode code_;
  std::shared_ptr<const Texts> texts_;
};

/// Throws Error with a formatted message.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error{kBug}: for what the program itself guarantees. Never reachable from user input.
template <typename... Args>
void ensure(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) throw Error(ErrorCode::kBug, fmt::format(format, std::forward<Args>(args)...));
}

/// A value, or the Error that stands in its place.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: implicit by design

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return std::get<1>(state_); }

  /// The value; throws the Error if there is none.
  T& value() & {
    if (!ok()) throw error();
    return std::get<0>(state_);
  }
  const T& value() const& {
    if (!ok()) throw error();
    return std::get<0>(state_);
  }
  T&& value() && {
    if (!ok()) throw error();
    return std::get<0>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

/// Runs `body` and turns an Error it throws into a Result.
template <typename Body>
auto attempt(Body&& body) -> Result<decltype(body())> {
  try {
    return body();
  } catch (const Error& error) {
    return error;
  }
}

}  // namespace muster
