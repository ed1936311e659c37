#include "trainer/comm/shared_sum_buffer.h"

#include <utility>

#include "trainer/comm/mpi_pending_reduce.h"

namespace muster {
namespace {

class SharedSumBuffer : public SumBuffer {
 public:
  SharedSumBuffer(std::shared_ptr<MpiEngine> engine, SharedParts shared)
      : engine_(std::move(engine)), state_(std::make_shared<State>(std::move(shared), engine_->rank())) {}

  std::span<float> values() override { return state_->values; }

  std::unique_ptr<PendingReduce> start(std::string_view name) override {
    state_->sum.start();
    return start_moved_sum(engine_, name, [state = state_](MpiOperation&) { return state->sum.advance(); });
  }

 private:
  struct State {
    State(SharedParts shared, int rank)
        : memories(std::move(shared.memories)),
          values(shared.parts[static_cast<std::size_t>(rank)].values),
          sum(std::move(shared.parts), static_cast<std::size_t>(rank)) {}
    std::vector<std::unique_ptr<SharedMemory>> memories;
    std::span<float> values;
    SharedSum sum;
  };
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<State> state_;
};

}  // namespace

std::unique_ptr<SumBuffer> make_shared_sum_buffer(std::shared_ptr<MpiEngine> engine, SharedParts shared) {
  return std::make_unique<SharedSumBuffer>(std::move(engine), std::move(shared));
}

}  // namespace muster
