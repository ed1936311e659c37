#pragma once
// What a rank needs of CUDA and NCCL, without their headers: implemented by libmuster_cuda, which is loaded
// where there is a GPU, so that one program runs on all nodes.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data_loader/contract/batch.h"
#include "trainer/comm/sum_precision.h"

namespace muster {

/// A GPU that this process sees.
struct GpuInfo {
  std::string name;
  std::string uuid;  ///< the same for every process that sees this GPU
  std::uint64_t bytes = 0;
};

/// A sum over the ranks on its way, on a stream of its own.
class GpuSum {
 public:
  virtual ~GpuSum() = default;
  /// Whether it is done. Any thread. Error{kPeer} where NCCL failed: then all that its GpuSums do has ended.
  virtual bool done() = 0;
  /// What the caller's current stream does from here on comes after the sum; the host does not wait.
  virtual void join() = 0;
};

/// One rank's end of an NCCL communicator. Calls start work on the rank's GPU, whatever GPU is the thread's
/// current one; one thread at a time but for GpuSum::done.
class GpuSums {
 public:
  virtual ~GpuSums() = default;
  /// Zeros in the GPU's memory, aligned to 64 bytes at least. Gone before this. c10::OutOfMemoryError.
  virtual std::shared_ptr<float> allocate(std::size_t floats) = 0;
  /// Sets them to 0 on the current stream.
  virtual void clear(float* values, std::size_t count) = 0;
  /// Collective. Sums in place, after all that the current stream was given so far. Bfloat16: terms are
  /// rounded, added in float32 in rank order, and the sum is rounded, as message_sum_buffer.h does.
  virtual std::shared_ptr<GpuSum> start(float* values, std::size_t count, SumPrecision precision) = 0;
  /// For how long streams stood still in joins so far, of those joins that the GPU is through with.
  virtual double stalled_seconds() = 0;
};

/// Work of a GPU that is started at once, again and again.
class GpuGraph {
 public:
  virtual ~GpuGraph() = default;
  /// On the current stream, with the memory that it was recorded with.
  virtual void replay() = 0;
};

class Gpus {
 public:
  virtual ~Gpus() = default;
  /// 0 where there is no driver or no GPU.
  virtual int count() const = 0;
  /// `index` is below count(). Takes nothing of the GPU.
  virtual GpuInfo info(int index) const = 0;
  /// Of the GPU that was selected.
  virtual std::uint64_t free_bytes(int index) const = 0;
  /// The most of its memory that LibTorch's tensors had so far in this process.
  virtual std::uint64_t peak_bytes(int index) const = 0;
  /// Makes it the calling thread's current GPU.
  virtual void select(int index) = 0;
  /// "CUDA 13.0, NCCL 2.28.9": decides bits.
  virtual std::string version() const = 0;
  /// Records what `work` starts on the current GPU, without doing it: `work` ran before, waits for nothing,
  /// and its memory stays. c10::Error where it cannot be recorded.
  virtual std::unique_ptr<GpuGraph> record(const std::function<void()>& work) = 0;
  /// Page-locked memory, from which copies to a GPU run beside the host.
  virtual BufferAllocator pinned_allocator() = 0;
  /// What one rank makes and all ranks give to connect().
  virtual std::string new_id() = 0;
  /// Collective over the `size` ranks. Error{kPeer}.
  virtual std::unique_ptr<GpuSums> connect(const std::string& id, int rank, int size, int index) = 0;
};

/// The symbol of libmuster_cuda: `const char* (*)()`, the version of Muster and LibTorch that it was built
/// with.
constexpr const char* kGpuModuleVersion = "muster_gpu_module_version";
/// And `muster::Gpus* (*)()`, which the caller owns.
constexpr const char* kGpuModuleMake = "muster_make_gpus";

}  // namespace muster
