#pragma once
// A micro-batch as tensors, with what randomness is keyed by.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "data_loader/contract/batch.h"
#include "models/compute_device.h"

namespace at {
class Tensor;
}

namespace muster {

/// Name of the tensor that a model learns to predict.
constexpr std::string_view kLabelTensor = "label";

/// Makes of each number the sum of all ranks' numbers, in place. Collective.
using SumOverRanks = std::function<void(std::span<double>)>;

/// Where the gradient of a parameter is wanted, as a tensor of its shape: who computes it may write it there,
/// and return that tensor to autograd without keeping it. Undefined where that is of no use.
using GradientPlaces = std::function<at::Tensor(const at::Tensor& parameter)>;

/// A batch's tensors where they are computed with: views of its memory, or copies on a GPU. Copies are cheap
/// and share them.
class BatchTensors {
 public:
  /// The batch outlives this. On a GPU: copied on the current stream; the batch stays as it is until that is
  /// done.
  BatchTensors(const Batch& batch,
               const ComputeDevice& device = {});  // NOLINT: a batch is what it is made of
  /// Whether these are still the batch's: rows of it may be passed over after they were copied.
  bool are_of(const Batch& batch) const;

 private:
  friend class ModelBatch;
  friend class CopyStream;
  BatchTensors() = default;
  struct State;
  std::shared_ptr<const State> state_;
};

/// Brings batches to a GPU while it computes with others, on a stream of its own. One thread.
class CopyStream {
 public:
  explicit CopyStream(const ComputeDevice& gpu);
  ~CopyStream();
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;

  /// Starts to copy a batch, of page-locked memory, which outlives them.
  BatchTensors copy(const Batch& batch);
  /// The current stream waits for them: call before they are used in it.
  static void join(const BatchTensors& tensors);

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

/// Rows [first, first + count) of a batch as tensors that share the memory of its BatchTensors (valid while
/// the Batch is).
class ModelBatch {
 public:
  /// `training`: dropout is on. `seed` and the global `step` key all randomness, with each row's position.
  /// `sum`: for models whose numbers depend on all rows of a step; none where this rank is alone. `places`:
  /// see linear().
  ModelBatch(const BatchTensors& batch, std::size_t first, std::size_t count, bool training,
             std::uint64_t seed, SumOverRanks sum = {}, GradientPlaces places = {});
  ~ModelBatch();
  ModelBatch(ModelBatch&&) noexcept;

  std::int64_t rows() const;
  bool training() const;
  std::uint64_t seed() const;
  std::uint64_t step() const;

  /// The tensor of that name, [rows, …], float32 or int64. Error{kConfig} lists the known names.
  at::Tensor get(std::string_view name) const;
  bool has(std::string_view name) const;
  at::Tensor label() const;  ///< get(kLabelTensor)
  /// The same on the CPU, wherever the model computes.
  at::Tensor label_on_host() const;
  at::Tensor weights() const;  ///< float32 [rows]
  /// Position of each row in the global batch.
  const std::vector<std::uint32_t>& positions() const;
  /// How many of the rows each lane has, in order; lanes without rows are left out.
  std::vector<std::int64_t> lane_rows() const;
  /// 1 for a row that is passed over: all zeros, with weight 0. [rows]
  std::span<const std::uint8_t> bad() const;
  /// May be empty.
  const SumOverRanks& sum_over_ranks() const;
  const GradientPlaces& gradient_places() const;

 private:
  std::size_t index_of(std::string_view name) const;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
