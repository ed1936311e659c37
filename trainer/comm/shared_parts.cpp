#include "trainer/comm/shared_parts.h"

#include <new>

#include "trainer/comm/gather.h"

namespace muster {
namespace {

/// Nothing, or the first rank's complaint.
std::optional<Error> complaint(Communicator& comm, std::string_view name, const std::string& mine) {
  const std::vector<std::string> all = gather_texts(comm, name, mine);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (!all[rank].empty()) return Error(ErrorCode::kStorage, fmt::format("rank {}: {}", rank, all[rank]));
  }
  return std::nullopt;
}

SharedSum::Part part_in(const SharedMemory& memory) {
  const std::span<std::byte> bytes = memory.bytes();
  const std::span<std::byte> floats = bytes.subspan(sizeof(SumSigns));
  return {reinterpret_cast<SumSigns*>(bytes.data()),
          {reinterpret_cast<float*>(floats.data()), floats.size() / sizeof(float)}};
}

}  // namespace

Result<SharedParts> share_parts(Communicator& comm, std::string_view name, std::size_t count) {
  const auto rank = static_cast<std::size_t>(comm.rank());
  auto mine = attempt([&] {
    auto memory = SharedMemory::create(sizeof(SumSigns) + count * sizeof(float));
    new (memory->bytes().data()) SumSigns;
    return memory;
  });
  if (auto error = complaint(comm, name, mine.ok() ? "" : mine.error().message())) return *error;
  std::unique_ptr<SharedMemory> own = std::move(mine).value();
  SharedParts shared;
  std::string refused;
  for (const std::string& handle : gather_texts(comm, name, own->handle())) {
    std::unique_ptr<SharedMemory>& memory = shared.memories.emplace_back();
    const std::size_t owner = shared.memories.size() - 1;
    if (owner == rank) continue;
    auto theirs = SharedMemory::open(handle);
    if (theirs.ok()) {
      memory = std::move(theirs).value();
    } else if (refused.empty()) {
      refused = fmt::format("the memory of rank {} is out of reach: {}", owner, theirs.error().message());
    }
  }
  if (auto error = complaint(comm, name, refused)) return *error;
  own->withdraw();
  shared.memories[rank] = std::move(own);
  for (const auto& memory : shared.memories) shared.parts.push_back(part_in(*memory));
  return shared;
}

}  // namespace muster
