#include "trainer/evaluation/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"
#include "core/text.h"
#include "trainer/comm/gather.h"
#include "trainer/evaluation/score_order.h"
#include "trainer/evaluation/target_metrics.h"

namespace muster {
namespace {

__extension__ using Wide = unsigned __int128;

/// A rank's share of the sums; plain integers, so that any order of adding gives the same.
struct RankShare {
  std::uint64_t positives = 0;
  std::uint64_t negatives = 0;
  std::uint64_t area_high = 0;  ///< twice the pairs in which the positive scores higher (a tie counts one)
  std::uint64_t area_low = 0;
  std::uint64_t precision_high = 0;  ///< sum of positives × precision, in units of 2^-32
  std::uint64_t precision_low = 0;
};

void add_ranking(std::span<const ScoreGroup> groups, std::span<const RankShare> shares, std::size_t rank,
                 RankShare& mine) {
  std::uint64_t negatives_below = 0;
  std::uint64_t positives_above = 0;
  std::uint64_t negatives_above = 0;
  for (std::size_t r = 0; r < shares.size(); ++r) {
    if (r < rank) negatives_below += shares[r].negatives;
    if (r > rank) positives_above += shares[r].positives;
    if (r > rank) negatives_above += shares[r].negatives;
  }
  Wide area = 0;
  for (const ScoreGroup& group : groups) {
    area += static_cast<Wide>(group.positives) * (2 * static_cast<Wide>(negatives_below) + group.negatives);
    negatives_below += group.negatives;
  }
  Wide precision = 0;
  for (std::size_t i = groups.size(); i-- > 0;) {
    positives_above += groups[i].positives;
    negatives_above += groups[i].negatives;
    precision += (static_cast<Wide>(groups[i].positives) * positives_above << 32) /
                 (positives_above + negatives_above);
  }
  mine.area_high = static_cast<std::uint64_t>(area >> 64);
  mine.area_low = static_cast<std::uint64_t>(area);
  mine.precision_high = static_cast<std::uint64_t>(precision >> 64);
  mine.precision_low = static_cast<std::uint64_t>(precision);
}

}  // namespace

RankingMetrics ranking_metrics(Communicator& comm, std::span<const float> scores,
                               std::span<const std::uint8_t> positive) {
  const std::vector<ScoreGroup> groups = sorted_groups(comm, scores, positive);
  RankShare mine;
  for (const ScoreGroup& group : groups) {
    mine.positives += group.positives;
    mine.negatives += group.negatives;
  }
  const auto counted = gather<RankShare>(comm, "ranking counts", std::span(&mine, 1));
  add_ranking(groups, counted, static_cast<std::size_t>(comm.rank()), mine);

  RankingMetrics metrics;
  Wide area = 0;
  Wide precision = 0;
  for (const RankShare& share : gather<RankShare>(comm, "ranking sums", std::span(&mine, 1))) {
    metrics.positives += share.positives;
    metrics.negatives += share.negatives;
    area += static_cast<Wide>(share.area_high) << 64 | share.area_low;
    precision += static_cast<Wide>(share.precision_high) << 64 | share.precision_low;
  }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto p = static_cast<double>(metrics.positives);
  const auto n = static_cast<double>(metrics.negatives);
  metrics.auc = p > 0 && n > 0 ? static_cast<double>(area) / (2 * p * n) : nan;
  metrics.average_precision = p > 0 ? static_cast<double>(precision) * 0x1.0p-32 / p : nan;
  return metrics;
}

MetricCollector::MetricCollector(Kind kind, std::int64_t outputs, double threshold)
    : kind_(kind), outputs_(outputs), threshold_(threshold) {
  const std::size_t classes = kind == Kind::kClasses ? static_cast<std::size_t>(outputs) : 2;
  confusion_.assign(of_numbers() ? 0 : classes * classes, 0);
}

void MetricCollector::add_numbers(MicroBatchSums sums, std::span<const float> predictions,
                                  std::span<const double> labels) {
  const auto width = static_cast<std::size_t>(outputs_);
  ensure(predictions.size() == labels.size() && labels.size() % width == 0,
         "{} predictions of {} numbers, {} to a row", predictions.size(), labels.size(), width);
  sums.rows = labels.size() / width;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    ensure(std::isfinite(predictions[i]), "a prediction is not finite");
    const double error = predictions[i] - labels[i];
    sums.squared_error += error * error;
    sums.absolute_error += std::abs(error);
    sums.squared_label += labels[i] * labels[i];
  }
  sums_.push_back(sums);
}

void MetricCollector::add(std::uint64_t number, std::span<const float> predictions,
                          std::span<const double> labels, double loss_sum, double weight_sum) {
  MicroBatchSums sums;
  sums.number = number;
  sums.loss = loss_sum;
  sums.weight = weight_sum;
  if (of_numbers()) return add_numbers(sums, predictions, labels);
  sums.rows = labels.size();
  const auto width = static_cast<std::size_t>(outputs_);
  for (std::size_t row = 0; row < labels.size(); ++row) {
    const std::span<const float> scores = predictions.subspan(row * width, width);
    for (const float score : scores) ensure(std::isfinite(score), "a prediction is not finite");
    if (kind_ == Kind::kClasses) {
      if (!(labels[row] >= 0 && labels[row] < static_cast<double>(outputs_))) {
        fail(ErrorCode::kData, "label {} is no class: there are {}, from 0", labels[row], outputs_);
      }
      const auto best =
          static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
      const auto label = static_cast<std::size_t>(labels[row]);
      confusion_[label * width + best] += 1;
      for (std::size_t k = 0; k < width; ++k) {
        const double error = scores[k] - (k == label ? 1.0 : 0.0);
        sums.squared_error += error * error;
      }
    } else {
      const bool positive = labels[row] > 0.5;
      confusion_[(positive ? 2U : 0U) + (scores[0] >= threshold_ ? 1U : 0U)] += 1;
      const double error = scores[0] - (positive ? 1.0 : 0.0);
      sums.squared_error += error * error;
      scores_.push_back(scores[0]);
      positive_.push_back(positive ? 1 : 0);
    }
  }
  sums_.push_back(sums);
}

namespace {

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : std::numeric_limits<double>::quiet_NaN();
}

void add_binary(Json& metrics, std::span<const std::uint64_t> confusion, double threshold,
                const RankingMetrics& ranking) {
  const auto tn = static_cast<double>(confusion[0]);
  const auto fp = static_cast<double>(confusion[1]);
  const auto fn = static_cast<double>(confusion[2]);
  const auto tp = static_cast<double>(confusion[3]);
  metrics["accuracy"] = json_number(ratio(tp + tn, tn + fp + fn + tp));
  metrics["precision"] = json_number(ratio(tp, tp + fp));
  metrics["recall"] = json_number(ratio(tp, tp + fn));
  metrics["f1"] = json_number(ratio(2 * tp, 2 * tp + fp + fn));
  metrics["threshold"] = threshold;
  metrics["auc"] = json_number(ranking.auc);
  metrics["average_precision"] = json_number(ranking.average_precision);
  metrics["confusion"] = {{confusion[0], confusion[1]}, {confusion[2], confusion[3]}};
}

void add_classes(Json& metrics, std::span<const std::uint64_t> confusion, std::size_t classes) {
  std::uint64_t right = 0;
  std::uint64_t all = 0;
  Json table = Json::array();
  for (std::size_t label = 0; label < classes; ++label) {
    const auto row = confusion.subspan(label * classes, classes);
    right += row[label];
    for (const std::uint64_t count : row) all += count;
    table.push_back(std::vector<std::uint64_t>(row.begin(), row.end()));
  }
  metrics["accuracy"] = json_number(ratio(static_cast<double>(right), static_cast<double>(all)));
  metrics["confusion"] = table;
}

void add_tokens(Json& metrics, const MicroBatchSums& total) {
  const double loss = ratio(total.loss, total.weight);
  metrics["tokens"] = total.tokens;
  metrics["token_accuracy"] =
      json_number(ratio(static_cast<double>(total.right_tokens), static_cast<double>(total.tokens)));
  metrics["perplexity"] = json_number(std::exp(loss));
  metrics["bits_per_token"] = json_number(loss / std::numbers::ln2);
}

}  // namespace

Json MetricCollector::finish(Communicator& comm) const {
  std::vector<MicroBatchSums> sums = gather<MicroBatchSums>(comm, "evaluation sums", sums_);
  std::sort(sums.begin(), sums.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  MicroBatchSums total;
  for (const MicroBatchSums& part : sums) {
    total.loss += part.loss;
    total.weight += part.weight;
    total.squared_error += part.squared_error;
    total.absolute_error += part.absolute_error;
    total.squared_label += part.squared_label;
    total.rows += part.rows;
    total.tokens += part.tokens;
    total.right_tokens += part.right_tokens;
  }
  Json metrics = {{"rows", total.rows}, {"loss", json_number(ratio(total.loss, total.weight))}};
  if (kind_ == Kind::kTokens) {
    add_tokens(metrics, total);
    return metrics;
  }
  std::vector<std::uint64_t> confusion = confusion_;
  if (!of_numbers()) comm.all_reduce_sum("confusion", std::span(confusion));
  const auto rows = static_cast<double>(total.rows);
  const double values = of_numbers() ? rows * static_cast<double>(outputs_) : rows;
  if (!of_numbers()) metrics["brier"] = json_number(ratio(total.squared_error, rows));
  switch (kind_) {
    case Kind::kArrays:
      metrics["relative_l2"] = json_number(std::sqrt(ratio(total.squared_error, total.squared_label)));
      [[fallthrough]];
    case Kind::kNumbers:
      metrics["rmse"] = json_number(std::sqrt(ratio(total.squared_error, values)));
      metrics["mae"] = json_number(ratio(total.absolute_error, values));
      break;
    case Kind::kClasses:
      add_classes(metrics, confusion, static_cast<std::size_t>(outputs_));
      break;
    case Kind::kBinary:
      add_binary(metrics, confusion, threshold_, ranking_metrics(comm, scores_, positive_));
      break;
    case Kind::kTokens:
      break;
  }
  return metrics;
}

std::string metrics_line(const Json& metrics) {
  // What people compare first, before what it depends on.
  std::vector<std::string> names = {
      "loss", "auc", "average_precision", "accuracy", "precision", "recall", "f1", "brier",
      "rmse", "mae", "relative_l2"};
  for (const auto& [name, value] : metrics.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    const Json value = metrics.value(name, Json());
    if (value.is_number_float()) parts.push_back(fmt::format("{} {:.5g}", name, value.get<double>()));
    if (value.is_number_integer())
      parts.push_back(fmt::format("{} {}", name, human_count(value.get<std::uint64_t>())));
  }
  const std::string line = join(parts, ", ");
  return metrics.contains("targets") ? line + "; " + targets_line(metrics.at("targets")) : line;
}

}  // namespace muster
