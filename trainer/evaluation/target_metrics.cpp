#include "trainer/evaluation/target_metrics.h"

#include <utility>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

/// Over the targets of which it is defined (a label of one class has no AUC), in the order of their columns,
/// so that the sum's bits are always the same.
Json mean_of(const Json& targets, const std::vector<std::string>& names, const char* metric) {
  double sum = 0;
  std::size_t defined = 0;
  for (const std::string& name : names) {
    const Json& value = targets.at(name).at(metric);
    if (!value.is_number()) continue;
    sum += value.get<double>();
    ++defined;
  }
  return defined > 0 ? Json(sum / static_cast<double>(defined)) : Json("NaN");
}

}  // namespace

TargetMetrics::TargetMetrics(MetricCollector::Kind kind, double threshold, std::vector<std::string> names)
    : kind_(kind),
      names_(std::move(names)),
      all_(MetricCollector::Kind::kNumbers, 1, threshold),
      each_(names_.size(), MetricCollector(kind, 1, threshold)) {}

void TargetMetrics::add(std::uint64_t number, std::span<const float> predictions,
                        std::span<const double> labels, LossSums all, std::span<const LossSums> each) {
  const std::size_t width = names_.size();
  ensure(predictions.size() == labels.size() && labels.size() % width == 0 && each.size() == width,
         "{} predictions and {} labels of {} targets", predictions.size(), labels.size(), width);
  const std::size_t rows = labels.size() / width;
  MicroBatchSums sums;
  sums.number = number;
  sums.loss = all.loss;
  sums.weight = all.weight;
  sums.rows = rows;
  all_.add(sums);
  std::vector<float> scores(rows);
  std::vector<double> truths(rows);
  for (std::size_t target = 0; target < width; ++target) {
    for (std::size_t row = 0; row < rows; ++row) {
      scores[row] = predictions[row * width + target];
      truths[row] = labels[row * width + target];
    }
    each_[target].add(number, scores, truths, each[target].loss, each[target].weight);
  }
}

Json TargetMetrics::finish(Communicator& comm) const {
  const Json all = all_.finish(comm);
  Json metrics = {{"rows", all.at("rows")}, {"loss", all.at("loss")}};
  Json targets = Json::object();
  for (std::size_t i = 0; i < names_.size(); ++i) targets[names_[i]] = each_[i].finish(comm);
  if (kind_ == MetricCollector::Kind::kBinary) {
    for (const char* metric : {"accuracy", "auc", "average_precision", "brier", "f1", "precision", "recall"})
      metrics[metric] = mean_of(targets, names_, metric);
  }
  metrics["targets"] = std::move(targets);
  return metrics;
}

std::string targets_line(const Json& targets) {
  constexpr std::size_t kMost = 4;
  std::vector<std::string> parts;
  for (const auto& [name, metrics] : targets.items()) {
    if (parts.size() == kMost) {
      parts.push_back(fmt::format("{} more", targets.size() - kMost));
      break;
    }
    const char* metric = metrics.contains("auc") ? "auc" : "rmse";
    const Json value = metrics.value(metric, Json());
    parts.push_back(value.is_number() ? fmt::format("{}: {} {:.5g}", name, metric, value.get<double>())
                                      : fmt::format("{}: {} NaN", name, metric));
  }
  return join(parts, ", ");
}

}  // namespace muster
