#pragma once
// Exact metrics of a model on a split: every row once, the same bits for any number of ranks.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/stream/batch_stream.h"
#include "models/model.h"
#include "trainer/comm/communicator.h"
#include "trainer/evaluation/decision.h"
#include "trainer/runlog/stop_watch.h"

namespace muster {

struct EvaluateSettings {
  std::string split;
  std::uint32_t micro_batch = 1024;
  double threshold = 0.5;
  LossSettings loss;                      ///< with the temperature of the probabilities
  std::int64_t outputs = 1;               ///< numbers per row, as model_outputs()
  std::vector<std::int64_t> label_shape;  ///< of a label that is an array; else empty
  std::vector<std::string> targets;       ///< names of the labels, in the order of their columns
  StreamOptions stream;
  ComputeDevice device;  ///< where the model is
  /// What is fitted to the split's rows before they are measured, instead of threshold and loss.temperature.
  DecisionSettings fit;
  bool calibrated = false;      ///< loss.temperature was fitted: likelihoods with and without it are wanted
  std::uint64_t resamples = 0;  ///< of a bootstrap of the ranking metrics (binary); 0: none
  std::uint64_t seed = 0;       ///< of the bootstrap
};

/// What an evaluation gives.
struct Evaluation {
  Json metrics;                   ///< of MetricCollector and ScoreStage
  Decision decision;              ///< by what; its step is not set
  std::vector<BadRows> bad_rows;  ///< that any rank found, where EvaluateSettings::stream passes over them
};

/// One that may have been stopped.
struct EvaluationEnd {
  std::optional<Evaluation> evaluation;  ///< nothing: stopped, on all ranks
  StopReason stop = StopReason::kNone;   ///< the greatest of the ranks'
  /// Where a read of this rank did not come back in time: what it still uses. Letting go of it waits.
  std::shared_ptr<void> still_reading;
};

/// Collective. Scores the split's rows in dataset order in fixed micro-batches dealt to the ranks. `stop`,
/// asked now and then on every rank, ends it early on all ranks where any has a reason; `waits`: this rank
/// waits for its data, and asks ten times a second. have `passed_over`, how many. Error{kData} if a score or
/// the loss is not finite, or if no row is left. Dropout is off; nothing of the model changes.
EvaluationEnd evaluate_split(Communicator& comm, Model& model, const Dataset& dataset,
                             const FeaturePipeline& pipeline, const EvaluateSettings& settings,
                             const std::function<StopReason(bool waits)>& stop);

/// Threads that one operator may use on this rank; part of what decides the bits.
void set_compute_threads(std::uint64_t threads);

/// "auc", "accuracy", "rmse" or "loss", by the loss.
std::string default_metric(LossKind kind);

}  // namespace muster
