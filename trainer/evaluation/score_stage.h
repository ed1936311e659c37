#pragma once
// Between a model's scores and a split's metrics: temperature and threshold are applied here, or fitted to
// the split first.

#include <cstdint>
#include <span>
#include <vector>

#include "core/json.h"
#include "data_loader/contract/batch.h"
#include "models/loss.h"
#include "trainer/comm/communicator.h"
#include "trainer/evaluation/calibration.h"
#include "trainer/evaluation/decision.h"
#include "trainer/evaluation/evaluator.h"
#include "trainer/evaluation/metrics.h"

namespace muster {

/// For models with one label, binary or of classes; scores of others pass through. One thread.
class ScoreStage {
 public:
  /// `settings` and `collector` outlive it. `collector` is given every micro-batch: at once, or, where
  /// settings.fit asks for more than the config says, in decide().
  ScoreStage(const EvaluateSettings& settings, MetricCollector& collector);

  /// One micro-batch as the model scored it. What decide() needs is held: rows × outputs floats.
  /// Error{kData} for a score that is not finite.
  void add(const Batch& batch, const at::Tensor& scores, std::span<const double> labels, double loss,
           double weight);

  /// Collective, after the last add(). What the metrics are by; split and remark are set, the step is not.
  Decision decide(Communicator& comm);

  /// Collective, after decide(). Metrics beside the collector's: where settings.calibrated or a fit asks for
  /// it, "temperature", and the mean negative log likelihood of the rows (nats, each counts once) with it,
  /// "nll", and without, "nll_uncalibrated"; with settings.resamples (binary) interval_metrics().
  Json more_metrics(Communicator& comm) const;

 private:
  /// Negative log likelihoods of a micro-batch's rows.
  struct Likelihood {
    std::uint64_t number = 0;
    std::uint64_t rows = 0;
    double nll = 0;
    double uncalibrated = 0;
  };
  void note_likelihood(const RawMicroBatch& batch);
  void fit_threshold(Communicator& comm, std::span<const std::vector<float>> predicted);
  Json intervals(Communicator& comm) const;

  const EvaluateSettings& settings_;
  MetricCollector& collector_;
  Decision decision_;
  std::vector<RawMicroBatch> held_;
  std::vector<Likelihood> likelihoods_;
};

}  // namespace muster
