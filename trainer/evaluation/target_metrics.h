#pragma once
// Exact metrics of a model with several targets: each target's own, and what can be said of all together.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/comm/communicator.h"
#include "trainer/evaluation/metrics.h"

namespace muster {

/// A weighted sum of losses and the sum of weights.
struct LossSums {
  double loss = 0;
  double weight = 0;
};

/// Collects one rank's share of an evaluation of several targets.
class TargetMetrics {
 public:
  /// `kind`: kBinary or kNumbers. `names`: of the targets, in the order of their columns.
  TargetMetrics(MetricCollector::Kind kind, double threshold, std::vector<std::string> names);

  /// One micro-batch: `predictions` and `labels`, rows × targets; the sums of the loss as it was trained, and
  /// each target's own.
  void add(std::uint64_t number, std::span<const float> predictions, std::span<const double> labels,
           LossSums all, std::span<const LossSums> each);

  /// Collective; the same on every rank, and the same bits for any number of them. "rows", "loss" (of all
  /// targets, as trained), "targets": {name: what MetricCollector::finish says of it}; kBinary: the means
  /// over the targets of "accuracy", "auc", "average_precision", "brier", "f1", "precision" and "recall"
  /// ("NaN" where one is). Numbers have units of their own: no mean.
  Json finish(Communicator& comm) const;

 private:
  MetricCollector::Kind kind_;
  std::vector<std::string> names_;
  MetricCollector all_;  ///< rows and the loss only
  std::vector<MetricCollector> each_;
};

/// Of metrics' "targets", for one line: "heat: rmse 1.2, cold: rmse 0.3"; the first few.
std::string targets_line(const Json& targets);

}  // namespace muster
