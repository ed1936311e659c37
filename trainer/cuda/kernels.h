#pragma once
// Starts the device code (device/) on the current stream.

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "trainer/cuda/kernel_program.h"

namespace at {
class Tensor;
}

namespace muster {

/// How threads are laid out.
struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared = 0;  ///< bytes of a block
};

/// The programs that were used so far, each compiled once in a process and for a GPU. Any thread.
class Kernels {
 public:
  /// A kernel of the program, on the current GPU. The arguments are of its own types, to the width.
  template <typename... Arguments>
  void launch(const KernelProgram& program, const char* name, const Grid& grid, Arguments... arguments) {
    std::array pointers{const_cast<void*>(static_cast<const void*>(&arguments))...};  // NOLINT: CUDA's way
    start(program, name, grid, pointers);
  }

 private:
  void start(const KernelProgram& program, const char* name, const Grid& grid, std::span<void*> arguments);
  const void* kernel(const KernelProgram& program, const char* name);

  std::mutex mutex_;
  std::map<std::pair<int, KernelProgram>, cudaLibrary_t>
      loaded_;  ///< by GPU; for as long as the process lives
};

/// The process's: LibTorch calls operators that can hold nothing.
Kernels& kernels();

/// What the device code calls a tensor's type.
const char* type_name(const at::Tensor& tensor);

/// `wanted`, within what a GPU is given at once.
unsigned blocks_for(std::int64_t wanted, std::int64_t most);

}  // namespace muster
