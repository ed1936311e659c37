#pragma once
// Steps that can fail on some ranks only: all ranks learn of it, and all end, without a hang.

#include <functional>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "trainer/comm/communicator.h"

namespace muster {

/// An error that all ranks know of, so that each can leave by itself; only the rank that has it reports it.
class AgreedError : public Error {
 public:
  AgreedError(const Error& error, bool mine) : Error(error), mine_(mine) {}
  bool mine() const { return mine_; }

 private:
  bool mine_;
};

/// Collective. Every rank gives its error or nothing; throws AgreedError on all ranks if any has one (the
/// lowest rank's).
void agree(Communicator& comm, std::string_view name, const std::optional<Error>& mine);

/// Collective. Runs `body` on every rank (it must not make collectives), then agrees.
template <typename Body>
auto together(Communicator& comm, std::string_view name, Body&& body) {
  std::optional<decltype(body())> value;
  std::optional<Error> error;
  try {
    value.emplace(body());
  } catch (const Error& thrown) {
    error = thrown;
  } catch (const std::bad_alloc&) {
    error = Error(ErrorCode::kConfig, std::string(name) + ": does not fit in this rank's memory");
  } catch (const std::exception& thrown) {
    const std::string_view text(thrown.what());
    error = Error(ErrorCode::kBug, std::string(text.substr(0, text.find('\n'))));  // no backtrace
  }
  agree(comm, name, error);
  return std::move(*value);
}

/// Collective. Error{kConfig} that names the ranks whose text differs from rank 0's: they would go another
/// way than it. `what` is what the text is about: "config".
void same_everywhere(Communicator& comm, const std::string& what, const std::string& text);

/// Collective. Runs `body`, which returns a text, on rank 0 and gives its result to all.
std::string on_rank_zero(Communicator& comm, std::string_view name, const std::function<std::string()>& body);

}  // namespace muster
