#pragma once
// The norm of a convolutional network, by choice: one per channel group and row, or a batch norm.

#include <cstdint>
#include <functional>
#include <string>

#include "core/option.h"
#include "models/batch_norm.h"
#include "models/model_batch.h"

namespace torch::nn {
class Module;
}

namespace muster {

/// Groups for group norm (Wu and He 2018): the most that divide the channels into equal ones, up to `most`,
/// each of at least `least` channels where there are that many. Norm of single channels would undo a bias
/// before it.
std::int64_t norm_groups(std::int64_t channels, std::int64_t least, std::int64_t most);

/// A model's option `norm`: "group" (the default), "batch" or "batch_sync".
Option norm_option();

/// A norm over x: [rows, channels, ...]; the result has x's shape. One thread.
class Norm {
 public:
  /// Registered at `owner` as `name`. "group": up to 32 groups (Wu and He 2018) of at least 2 channels, where
  /// the channels allow; "batch": see BatchNormOver::kLane; "batch_sync": kGlobalBatch.
  Norm(torch::nn::Module& owner, const std::string& name, std::int64_t channels, const std::string& kind);
  at::Tensor operator()(const at::Tensor& x, const ModelBatch& batch, const AfterNorm& after = {}) const;

 private:
  std::function<at::Tensor(const at::Tensor&, const ModelBatch&, const AfterNorm&)> forward_;
};

}  // namespace muster
