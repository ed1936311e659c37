#include "trainer/communicator.h"

namespace muster {

std::string broadcast_text(Communicator& comm, std::string_view name, std::string text, int root) {
  std::uint64_t length = text.size();
  comm.broadcast(name, std::as_writable_bytes(std::span(&length, 1)), root);
  text.resize(length);
  comm.broadcast(name, std::as_writable_bytes(std::span(text)), root);
  return text;
}

}  // namespace muster
