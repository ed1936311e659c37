#pragma once
// Exact metrics over a split that is dealt to ranks: counts are integers, float sums go in micro-batch order,
// so that one checkpoint's metrics are the same bits for any number of ranks.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/comm/communicator.h"

namespace muster {

/// Area under the ROC curve with ties as half, and average precision (sum over distinct scores, descending,
/// of the precision there × the share of positives there; the definition of scikit-learn's
/// average_precision_score).
struct RankingMetrics {
  std::uint64_t positives = 0;
  std::uint64_t negatives = 0;
  double auc = 0;                ///< NaN without positives or negatives
  double average_precision = 0;  ///< NaN without positives
};

/// Collective. Of all ranks' rows; exact, by a distributed sort of the scores (which must not be NaN). O(rows
/// of a rank) memory if the scores are not all equal.
RankingMetrics ranking_metrics(Communicator& comm, std::span<const float> scores,
                               std::span<const std::uint8_t> positive);

/// One micro-batch's sums, as the model computed them.
struct MicroBatchSums {
  std::uint64_t number = 0;
  double loss = 0;
  double weight = 0;
  double squared_error = 0;  ///< of numbers; of probabilities from 1 and 0 (Brier 1950)
  double absolute_error = 0;
  double squared_label = 0;  ///< of arrays
  std::uint64_t rows = 0;
  std::uint64_t tokens = 0;        ///< predicted, of a model of tokens
  std::uint64_t right_tokens = 0;  ///< of these: the token with the greatest score came next
};

/// Collects one rank's share of an evaluation.
class MetricCollector {
 public:
  enum class Kind { kBinary, kClasses, kNumbers, kArrays, kTokens };
  /// `outputs`: classes for kClasses, values of a row's label for kArrays, else 1. `threshold` for kBinary.
  MetricCollector(Kind kind, std::int64_t outputs, double threshold);

  /// Before the first add(): for a threshold that was not known when this was made.
  void set_threshold(double threshold) { threshold_ = threshold; }

  /// One micro-batch: `predictions` (finite probabilities or numbers, rows × outputs) and labels (of kArrays
  /// rows × outputs too). Error{kData} for a label that is no class.
  void add(std::uint64_t number, std::span<const float> predictions, std::span<const double> labels,
           double loss_sum, double weight_sum);

  /// One micro-batch of kTokens, whose sums the caller has made: rows, loss, weight, tokens, right_tokens.
  void add(const MicroBatchSums& sums) { sums_.push_back(sums); }

  /// Collective. All metrics, the same on every rank: "rows", "loss" always; kBinary: "accuracy", "auc",
  /// "average_precision", "precision", "recall", "f1", "brier", "threshold", "confusion" [[TN, FP], [FN,
  /// TP]]; kClasses: "accuracy", "brier", "confusion" [label][predicted]; kNumbers: "rmse", "mae"; kArrays:
  /// these over all values of all rows, and "relative_l2", the norm of all errors over that of all labels;
  /// kTokens: "tokens", "token_accuracy", and of the loss (nats per token) "perplexity" = exp(loss) and
  /// "bits_per_token" = loss / ln 2. A metric that is not defined is the string "NaN".
  Json finish(Communicator& comm) const;

  /// What this rank's rows of kBinary are, for what is said of them beside the metrics: scores and labels as
  /// they were added, and the sums of the micro-batches that they came in.
  std::span<const float> scores() const { return scores_; }
  std::span<const std::uint8_t> positive() const { return positive_; }
  std::span<const MicroBatchSums> micro_batches() const { return sums_; }

 private:
  bool of_numbers() const { return kind_ == Kind::kNumbers || kind_ == Kind::kArrays; }
  void add_numbers(MicroBatchSums sums, std::span<const float> predictions, std::span<const double> labels);

  Kind kind_;
  std::int64_t outputs_;
  double threshold_;
  std::vector<MicroBatchSums> sums_;
  std::vector<std::uint64_t> confusion_;  ///< outputs × outputs, or 2 × 2
  std::vector<float> scores_;
  std::vector<std::uint8_t> positive_;
};

/// One line for people: "loss 0.1234, auc 0.9123, …" (numbers only), then targets_line.
std::string metrics_line(const Json& metrics);

}  // namespace muster
