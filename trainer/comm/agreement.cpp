#include "trainer/comm/agreement.h"

#include "core/hash.h"
#include "core/json.h"
#include "core/text.h"

namespace muster {

void agree(Communicator& comm, std::string_view name, const std::optional<Error>& mine) {
  std::string text;
  if (mine)
    text = Json{{"code", mine->exit_code()}, {"message", mine->message()}, {"where", mine->where()}}.dump(
        -1, ' ', false, Json::error_handler_t::replace);
  const auto all = comm.all_gather(name, std::as_bytes(std::span(text.data(), text.size())));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].empty()) continue;
    const Json error = parse_json({reinterpret_cast<const char*>(all[rank].data()), all[rank].size()},
                                  "error of a peer", ErrorCode::kBug);
    throw AgreedError(Error(static_cast<ErrorCode>(error.at("code").get<int>()),
                            error.at("message").get<std::string>(), error.at("where").get<std::string>()),
                      static_cast<int>(rank) == comm.rank());
  }
}

void same_everywhere(Communicator& comm, const std::string& what, const std::string& text) {
  const std::string mine = sha256(text).hex();
  const auto all = comm.all_gather("same " + what, std::as_bytes(std::span(mine)));
  std::vector<std::string> others;
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] != all[0]) others.push_back(std::to_string(rank));
  }
  if (others.empty()) return;
  throw AgreedError(
      Error(ErrorCode::kConfig,
            fmt::format("another {} on rank{} {} than on rank 0: all ranks must see the same files", what,
                        others.size() == 1 ? "" : "s", join(others, ", "))),
      comm.rank() == 0);
}

std::string on_rank_zero(Communicator& comm, std::string_view name,
                         const std::function<std::string()>& body) {
  std::string text = together(comm, name, [&] { return comm.rank() == 0 ? body() : std::string(); });
  return broadcast_text(comm, name, std::move(text));
}

}  // namespace muster
