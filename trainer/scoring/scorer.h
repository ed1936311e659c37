#pragma once
// A trained model that scores rows of data by the checkpoint's own pipeline. Torch-free header.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data_loader/contract/batch.h"
#include "data_loader/features/feature_pipeline.h"
#include "models/model.h"
#include "trainer/scoring/trained_model.h"

namespace muster {

/// Used by one thread.
class Scorer {
 public:
  /// Collective. `data` is the contract of what shall be scored: it has the inputs as the checkpoint's
  /// contract has them (Error{kConfig} names the field that it has not, or has otherwise), and needs no
  /// label. Refused as AgreedError.
  /// `device`: where it computes.
  Scorer(Communicator& comm, const TrainedModel& trained, const Contract& data,
         const ComputeDevice& device = {});

  const FeaturePipeline& pipeline() const { return pipeline_; }
  LossKind kind() const { return loss_.kind; }
  /// Numbers per row: classes for cross-entropy, values of a label that is an array, else one per target.
  std::size_t outputs() const { return static_cast<std::size_t>(outputs_); }
  /// Of a label that is an array, without rows; else empty.
  const std::vector<std::int64_t>& label_shape() const { return label_shape_; }
  /// What each number is of, where there are several targets; else empty.
  const std::vector<std::string>& targets() const { return targets_; }
  /// From which probability on a row counts as positive (binary): the checkpoint's.
  double threshold() const { return threshold_; }

  /// Of a batch of the pipeline's tensors, row by row: calibrated probabilities, or numbers in the label's
  /// unit. The bits depend on how many rows the batch has. Error{kData} with partition and row for a score
  /// that is not finite.
  std::vector<float> score(const Batch& batch);

 private:
  FeaturePipeline pipeline_;
  LossSettings loss_;
  std::int64_t outputs_;
  std::vector<std::int64_t> label_shape_;
  std::vector<std::string> targets_;
  double threshold_;
  ComputeDevice device_;
  std::unique_ptr<Model> model_;
};

/// What one row's scores (of several targets: one target's score) say: the class, or 1 where the probability
/// reaches the threshold.
std::int64_t decide(const Scorer& scorer, std::span<const float> scores);

}  // namespace muster
