// libmuster_cuda: GPUs and NCCL behind trainer/comm/gpu.h.

#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include "core/error.h"
#include "trainer/comm/gpu.h"
#include "trainer/cuda/nccl_sums.h"
#include "trainer/cuda/step_graph.h"

namespace muster {
namespace {

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (const char byte : uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::shared_ptr<std::byte> pinned(std::size_t bytes) {
  void* memory = nullptr;
  const cudaError_t state = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
  if (state != cudaSuccess) {
    cudaGetLastError();  // the next call shall not find it
    fail(ErrorCode::kConfig, "{} bytes of page-locked memory for batches: {}; lower loader.memory", bytes,
         cudaGetErrorString(state));
  }
  return {static_cast<std::byte*>(memory),
          [](std::byte* freed) { C10_CUDA_CHECK_WARN(cudaFreeHost(freed)); }};
}

class CudaGpus : public Gpus {
 public:
  int count() const override { return c10::cuda::device_count(); }

  GpuInfo info(int index) const override {
    cudaDeviceProp properties{};
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
    return {properties.name, uuid_text(properties.uuid), properties.totalGlobalMem};
  }

  std::uint64_t free_bytes(int index) const override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
    std::size_t free = 0;
    std::size_t all = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &all));
    return free;
  }

  std::uint64_t peak_bytes(int index) const override {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index));
    constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return static_cast<std::uint64_t>(stats.allocated_bytes[kAll].peak);
  }

  void select(int index) override {
    at::globalContext().lazyInitDevice(
        at::kCUDA);  // the allocator is LibTorch's, which makes it when first asked
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(index));
  }

  std::string version() const override {
    int runtime = 0, nccl = 0;
    C10_CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
    if (ncclGetVersion(&nccl) != ncclSuccess) nccl = 0;
    return fmt::format("CUDA {}.{}, NCCL {}.{}.{}", runtime / 1000, runtime % 1000 / 10, nccl / 10000,
                       nccl % 10000 / 100, nccl % 100);
  }

  std::unique_ptr<GpuGraph> record(const std::function<void()>& work) override { return record_graph(work); }
  BufferAllocator pinned_allocator() override { return pinned; }
  std::string new_id() override { return new_nccl_id(); }
  std::unique_ptr<GpuSums> connect(const std::string& id, int rank, int size, int index) override {
    return connect_nccl(id, rank, size, index);
  }
};

}  // namespace
}  // namespace muster

extern "C" {
const char* muster_gpu_module_version() { return MUSTER_VERSION " with LibTorch " MUSTER_TORCH_VERSION; }
muster::Gpus* muster_make_gpus() { return std::make_unique<muster::CudaGpus>().release(); }
}
