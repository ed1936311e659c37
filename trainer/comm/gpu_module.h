#pragma once
// Finds and loads libmuster_cuda.

#include <filesystem>
#include <memory>
#include <string>

#include "trainer/comm/gpu.h"

namespace muster {

/// The GPUs of this process, or why there are none.
struct GpuModule {
  std::unique_ptr<Gpus> gpus;  ///< null, or with at least one GPU
  std::string why_not;         ///< one line; "" with gpus
  bool has_driver = false;     ///< the machine has NVIDIA's: somebody may wonder
};

/// Looks for the library at $MUSTER_CUDA_MODULE, else beside the program and in `../lib` from there, where
/// the machine has an NVIDIA driver. Call it before anything asks LibTorch about CUDA, which remembers that
/// there is none. The library stays loaded.
GpuModule load_gpu_module(const std::filesystem::path& program);

}  // namespace muster
