#include "trainer/communicator.h"

#include <algorithm>
#include <cstring>

namespace muster {

std::string broadcast_text(Communicator& comm, std::string_view name, std::string text, int root) {
  std::uint64_t length = text.size();
  comm.broadcast(name, std::as_writable_bytes(std::span(&length, 1)), root);
  text.resize(length);
  comm.broadcast(name, std::as_writable_bytes(std::span(text)), root);
  return text;
}

std::uint32_t smallest(Communicator& comm, std::string_view name, std::uint32_t mine) {
  for (const auto& bytes : comm.all_gather(name, std::as_bytes(std::span(&mine, 1)))) {
    std::uint32_t theirs = 0;
    std::memcpy(&theirs, bytes.data(), sizeof theirs);
    mine = std::min(mine, theirs);
  }
  return mine;
}

}  // namespace muster
