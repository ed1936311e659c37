#include "trainer/comm/gpu_sum_buffer.h"

#include <atomic>
#include <utility>

#include "core/error.h"
#include "trainer/comm/agreement.h"

namespace muster {
namespace {

using Progress = SharedSum::Progress;

/// What the caller does next on the GPU comes after the sum; the progress thread sees its end.
class PendingGpuSum : public PendingReduce {
 public:
  explicit PendingGpuSum(std::shared_ptr<GpuSum> sum) : sum_(std::move(sum)) {}
  void wait() override { sum_->join(); }

 private:
  std::shared_ptr<GpuSum> sum_;
};

/// Ends an operation of the engine when it goes.
class Span {
 public:
  explicit Span(std::shared_ptr<std::atomic<bool>> done) : done_(std::move(done)) {}
  ~Span() { done_->store(true); }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  std::shared_ptr<std::atomic<bool>> done_;
};

}  // namespace

GpuSumBuffer::GpuSumBuffer(std::shared_ptr<MpiEngine> engine, std::shared_ptr<GpuSums> sums,
                           std::size_t count, SumPrecision precision)
    : engine_(std::move(engine)),
      sums_(std::move(sums)),
      memory_(sums_->allocate(count)),
      count_(count),
      precision_(precision) {}

std::unique_ptr<PendingReduce> GpuSumBuffer::start(std::string_view name) {
  struct Started {
    std::shared_ptr<float> memory;  // stays until the GPU is done with it
    std::shared_ptr<GpuSums> sums;
    std::shared_ptr<GpuSum> sum;
  };
  auto started = std::make_shared<Started>(Started{memory_, sums_, nullptr});
  auto operation = engine_->start_moved(
      name, [started](MpiOperation&) { return started->sum->done() ? Progress::kDone : Progress::kWaiting; });
  started->sum = sums_->start(memory_.get(), count_, precision_);
  engine_->hand_over(operation);
  return std::make_unique<PendingGpuSum>(started->sum);
}

std::shared_ptr<GpuSums> connect_gpus(MpiEngine& engine, Communicator& comm, Gpus& gpus, int index) {
  const std::string id = broadcast_text(comm, "NCCL id", comm.rank() == 0 ? gpus.new_id() : std::string());
  return together(comm, "NCCL", [&] {
    const auto done = std::make_shared<std::atomic<bool>>(false);
    engine.hand_over(engine.start_moved("NCCL connects", [done](MpiOperation&) {
      return done->load() ? Progress::kDone : Progress::kWaiting;
    }));
    const Span span(done);
    return std::shared_ptr<GpuSums>(gpus.connect(id, comm.rank(), comm.size(), index));
  });
}

}  // namespace muster
