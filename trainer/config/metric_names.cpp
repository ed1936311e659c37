#include "trainer/config/metric_names.h"

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace muster {

std::vector<std::string> comparable_metrics(const std::string& loss) {
  if (loss == "binary")
    return {"accuracy", "auc", "average_precision", "brier", "f1", "loss", "precision", "recall"};
  if (loss == "cross_entropy") return {"accuracy", "brier", "loss"};
  if (loss == "next_token") return {"bits_per_token", "loss", "perplexity", "token_accuracy"};
  return {"loss", "mae", "relative_l2", "rmse"};
}

bool larger_is_better(const std::string& metric) {
  const std::vector<std::string> larger = {"auc",       "accuracy", "average_precision", "f1",
                                           "precision", "recall",   "token_accuracy"};
  const std::vector<std::string> smaller = {"loss",        "brier",      "rmse",          "mae",
                                            "relative_l2", "perplexity", "bits_per_token"};
  if (std::find(larger.begin(), larger.end(), metric) != larger.end()) return true;
  if (std::find(smaller.begin(), smaller.end(), metric) != smaller.end()) return false;
  std::vector<std::string> known = larger;
  known.insert(known.end(), smaller.begin(), smaller.end());
  fail(ErrorCode::kConfig, "there is no metric '{}'{}; known: {}", metric, did_you_mean(metric, known),
       join(known, ", "));
}

}  // namespace muster
