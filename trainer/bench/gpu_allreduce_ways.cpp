// Sums in GPUs' memory, for `muster bench allreduce`.

#include <torch/torch.h>

#include "trainer/bench/allreduce_ways.h"
#include "trainer/comm/agreement.h"

namespace muster {
namespace {

at::Tensor tensor_over(std::span<float> values, const at::TensorOptions& options) {
  return at::from_blob(values.data(), {static_cast<std::int64_t>(values.size())}, options);
}

/// When the current stream is through with all that it was given.
float last_of(const at::Tensor& values) { return values[-1].item<float>(); }

}  // namespace

MakeWays gpu_allreduce_ways(Communicator& comm, Gpus& gpus, const ComputeDevice& device,
                            SumPrecision precision) {
  const std::string id = broadcast_text(comm, "NCCL id", comm.rank() == 0 ? gpus.new_id() : std::string());
  const std::shared_ptr<GpuSums> bare =
      together(comm, "NCCL", [&] { return gpus.connect(id, comm.rank(), comm.size(), device.index); });
  return [&comm, bare, device, precision](std::size_t count) {
    struct Memory {
      std::unique_ptr<SumBuffer> buffer;
      std::shared_ptr<float> plain;
      at::Tensor summed, other, copy;
    };
    const auto options = at::TensorOptions(at::kFloat).device(as_torch(device));
    const auto memory = std::make_shared<Memory>();
    memory->buffer = comm.make_sum_buffer("bench", count, precision);
    memory->plain = bare->allocate(count);
    memory->summed = tensor_over(memory->buffer->values(), options);
    memory->other = tensor_over({memory->plain.get(), count}, options);
    memory->copy = at::empty_like(memory->other);
    AllreduceWays ways;
    ways.fill = [memory](float value) {
      memory->summed.fill_(value);
      static_cast<void>(last_of(memory->summed));
    };
    ways.sum = [memory] {
      memory->buffer->start("bench")->wait();
      static_cast<void>(last_of(memory->summed));
    };
    ways.by_library = [memory, bare, count] {
      bare->start(memory->plain.get(), count, SumPrecision::kFloat32)->join();
      static_cast<void>(last_of(memory->other));
    };
    ways.copy = [memory] {
      memory->copy.copy_(memory->other);
      static_cast<void>(last_of(memory->copy));
    };
    ways.last = [memory] { return last_of(memory->summed); };
    return ways;
  };
}

}  // namespace muster
