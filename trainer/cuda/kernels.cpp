#include "trainer/cuda/kernels.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>

#include "core/error.h"

namespace muster {

const void* Kernels::kernel(const KernelProgram& program, const char* name) {
  int device = 0;
  C10_CUDA_CHECK(cudaGetDevice(&device));
  const std::lock_guard lock(mutex_);
  cudaLibrary_t& library = loaded_[{device, program}];
  if (library == nullptr) {
    int major = 0, minor = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    const std::string code = compile(program, major, minor);
    C10_CUDA_CHECK(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  }
  cudaKernel_t kernel = nullptr;
  C10_CUDA_CHECK(cudaLibraryGetKernel(&kernel, library, name));
  return reinterpret_cast<const void*>(kernel);
}

void Kernels::start(const KernelProgram& program, const char* name, const Grid& grid,
                    std::span<void*> arguments) {
  C10_CUDA_CHECK(cudaLaunchKernel(kernel(program, name), grid.blocks, grid.threads, arguments.data(),
                                  grid.shared, c10::cuda::getCurrentCUDAStream()));
}

Kernels& kernels() {
  static Kernels kernels;
  return kernels;
}

const char* type_name(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return "Float32";
    case at::kBFloat16:
      return "BFloat16";
    case at::kHalf:
      return "Float16";
    default:
      fail(ErrorCode::kBug, "no kernel of muster takes {}", c10::toString(tensor.scalar_type()));
  }
}

unsigned blocks_for(std::int64_t wanted, std::int64_t most) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(wanted, 1, most));
}

}  // namespace muster
