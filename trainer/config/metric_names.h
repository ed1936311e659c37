#pragma once
// What an evaluation measures under which loss, and which of two values is the better one.

#include <string>
#include <vector>

namespace muster {

/// The metrics by which checkpoints can be compared when training with this loss.kind.
std::vector<std::string> comparable_metrics(const std::string& loss);
/// Whether a larger value of the metric is better ("auc", "accuracy", "average_precision", "f1", "precision",
/// "recall", "token_accuracy") or a smaller one ("loss", "brier", "rmse", "mae", "relative_l2", "perplexity",
/// "bits_per_token"). Error{kConfig} lists the known ones.
bool larger_is_better(const std::string& metric);

}  // namespace muster
