#include "trainer/comm/communicator.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "data_loader/contract/batch.h"

namespace muster {
namespace {

class PlainSumBuffer : public SumBuffer {
 public:
  PlainSumBuffer(Communicator& comm, std::size_t count)
      : comm_(comm),
        memory_(aligned_allocator()(count * sizeof(float))),
        values_(reinterpret_cast<float*>(memory_.get()), count) {
    std::ranges::fill(values_, 0.0F);
  }
  std::span<float> values() override { return values_; }
  std::unique_ptr<PendingReduce> start(std::string_view name) override {
    return comm_.start_all_reduce_sum(name, values_);
  }

 private:
  Communicator& comm_;
  std::shared_ptr<std::byte> memory_;
  std::span<float> values_;
};

}  // namespace

std::unique_ptr<SumBuffer> Communicator::make_sum_buffer(std::string_view, std::size_t count, SumPrecision) {
  return std::make_unique<PlainSumBuffer>(*this, count);
}

void Communicator::sum_on_gpus(Gpus&, int) {
  if (size() > 1) fail(ErrorCode::kConfig, "ranks that are threads of one program compute on the CPU");
}

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
