#pragma once
// Batch norm (Ioffe and Szegedy 2015) whose numbers do not depend on how many ranks there are: over the rows
// of each lane, or over the global batch.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/host_copy.h"
#include "models/model_batch.h"

namespace torch::nn {
class Module;
}

namespace muster {

class BatchNormModule;

/// Which rows share a mean and a variance.
enum class BatchNormOver {
  kLane,        ///< the rows that one lane gives to a step
  kGlobalBatch  ///< all rows of a step, over all ranks: two small sums over the ranks for each norm
};

/// What follows a norm: relu(norm + other). A GPU does it in one pass with the norm.
struct AfterNorm {
  const at::Tensor* other = nullptr;  ///< of the norm's shape; null: nothing is added
  bool relu = false;
};
/// The same in passes of its own.
at::Tensor applied(const AfterNorm& after, at::Tensor normal);

/// One norm of a model: PyTorch's BatchNorm1d to 3d by the input's dimensions, with its names, momentum (0.1)
/// and epsilon (1e-5). Rows that are passed over are no part of any mean. One thread.
class BatchNorm {
 public:
  /// Registered at `owner` as `name`: parameters weight and bias, buffers running_mean, running_var and
  /// num_batches_tracked.
  BatchNorm(torch::nn::Module& owner, const std::string& name, std::int64_t channels, BatchNormOver over);
  /// x: [rows, channels, …]; the result: the same. In training where rows give fewer than 2 values a channel,
  /// and in evaluation, by the running statistics, which this changes nothing of: see BatchNormSums.
  /// kGlobalBatch: collective in training, forward and backward, also for a rank without rows.
  at::Tensor forward(const at::Tensor& x, const ModelBatch& batch, const AfterNorm& after = {}) const;

 private:
  std::shared_ptr<BatchNormModule> module_;
};

/// What all batch norms of a model have seen in one step, summed over lanes, micro-batches and ranks, and
/// from it their running statistics: the mean over the lanes of their means and (unbiased) variances,
/// weighted by how many values each had.
class BatchNormSums {
 public:
  /// Shares the module's norms.
  explicit BatchNormSums(torch::nn::Module& module);
  ~BatchNormSums();
  BatchNormSums(const BatchNormSums&) = delete;
  BatchNormSums& operator=(const BatchNormSums&) = delete;

  bool empty() const { return norms_.empty(); }
  /// Whether a norm is over the global batch.
  bool over_ranks() const;
  /// Forgets what an unfinished step left.
  void clear();
  /// After a step's last forward pass: lets a GPU bring what it has seen while it goes on with the backward
  /// pass. Without it take() waits for that.
  void fetch();
  /// This rank's sums since the last take() or clear(), for all ranks' to be added to.
  std::vector<double> take();
  /// `sums`: of all ranks. Updates the running statistics of the norms that were trained; returns for how
  /// many lanes (of kGlobalBatch: ranks), all norms together, a norm took its running statistics instead of
  /// its own.
  std::uint64_t apply(std::span<const double> sums);

 private:
  std::vector<std::shared_ptr<BatchNormModule>> norms_;
  std::optional<HostCopy> fetched_;
};

}  // namespace muster
