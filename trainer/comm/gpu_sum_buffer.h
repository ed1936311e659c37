#pragma once
// Sums by NCCL, numbered and watched like MPI's.

#include <memory>

#include "trainer/comm/communicator.h"
#include "trainer/comm/gpu.h"
#include "trainer/comm/mpi_engine.h"

namespace muster {

class GpuSumBuffer : public SumBuffer {
 public:
  GpuSumBuffer(std::shared_ptr<MpiEngine> engine, std::shared_ptr<GpuSums> sums, std::size_t count,
               SumPrecision precision);
  std::span<float> values() override { return {memory_.get(), count_}; }
  void clear(std::span<float> some) override { sums_->clear(some.data(), some.size()); }
  std::unique_ptr<PendingReduce> start(std::string_view name) override;

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<GpuSums> sums_;
  std::shared_ptr<float> memory_;
  std::size_t count_;
  SumPrecision precision_;
};

/// Collective over the engine's ranks: each rank's end, on its GPU. A rank that does not come is told by the
/// watch.
std::shared_ptr<GpuSums> connect_gpus(MpiEngine& engine, Communicator& comm, Gpus& gpus, int index);

}  // namespace muster
