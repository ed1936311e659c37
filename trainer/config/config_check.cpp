// What must hold of and between configuration keys.

#include <algorithm>
#include <limits>

#include "core/text.h"
#include "trainer/config/config_table.h"
#include "trainer/config/metric_names.h"
#include "trainer/config/trace_range.h"

namespace muster {

void refuse_key(const YamlNode& document, const char* section, const char* key, const std::string& message) {
  const YamlNode* at = document.find(section);
  at = at != nullptr && at->is_map() ? at->find(key) : nullptr;
  (at != nullptr ? *at : document).fail_here(message);
}

namespace {

struct Range {
  const char* section;
  const char* key;
  double least;
  double most;  ///< included
};

constexpr double kAny = std::numeric_limits<double>::max();
constexpr double kMost32 = 4294967295.0;
/// The largest numbers below 1 and above 0: for ranges that exclude their ends.
constexpr double kBelow1 = 1 - std::numeric_limits<double>::epsilon() / 2;
constexpr double kAbove0 = std::numeric_limits<double>::min();

constexpr Range kRanges[] = {
    {"batch", "size", 1, kMost32},
    {"batch", "lanes", 1, kMost32},
    {"batch", "window", 1, kMost32},
    {"loader", "threads", 1, 1024},
    {"data", "most_bad_rows", 0, 1},
    {"loss", "pos_weight", kAbove0, kAny},
    {"loss", "label_smoothing", 0, kBelow1},
    {"optimizer", "learning_rate", 0, kAny},
    {"optimizer", "weight_decay", 0, kAny},
    {"optimizer", "momentum", 0, kAny},
    {"optimizer", "beta1", 0, kBelow1},
    {"optimizer", "beta2", 0, kBelow1},
    {"optimizer", "epsilon", kAbove0, kAny},
    {"schedule", "initial_ratio", 0, 1},
    {"schedule", "final_ratio", 0, kAny},
    {"schedule", "step_ratio", 0, kAny},
    {"train", "epochs", 1, kMost32},
    {"train", "steps", 1, 0x1p53},
    {"train", "threads", 1, 65536},
    {"train", "clip_norm", 0, kAny},
    {"train", "ema_decay", 0, kBelow1},
    {"train", "loss_scale", 0, 0x1p24},
    {"evaluate", "micro_batch", 1, kMost32},
    {"evaluate", "threshold", 0, 1},
    {"checkpoint", "keep", 2, kMost32},
    {"checkpoint", "every_seconds", 0, kAny},
    {"log", "every_steps", 1, 0x1p53},
    {"log", "deadline_seconds", 1, 1e7},
    {"checkpoint", "mean_hours_between_failures", 0, kAny},
    {"checkpoint", "give_up_seconds", 0, kAny},
    {"train", "spike_factor", 0, kAny},
    {"train", "wall_seconds", 0, kAny},
};

void check_ranges(const Json& values, const YamlNode& document) {
  for (const Range& range : kRanges) {
    const Json& value = values.at(range.section).at(range.key);
    if (value.is_null() || (value >= range.least && value <= range.most)) continue;
    const std::string name = fmt::format("{}.{}", range.section, range.key);
    const bool low = value < range.least;
    std::string bound = fmt::format("{} {}", low ? "at least" : "at most", low ? range.least : range.most);
    if (low && range.least == kAbove0) bound = "a number above 0";
    if (!low && range.most == kBelow1) bound = "a number below 1";
    refuse_key(document, range.section, range.key,
               fmt::format("{} is {}: {} is needed", name, value.dump(), bound));
  }
}

void check_batch(const Json& values, const YamlNode& document) {
  const Json& lanes = values.at("batch").at("lanes");
  const auto size = values.at("batch").at("size").get<std::uint64_t>();
  if (lanes.is_null() || size % lanes.get<std::uint64_t>() == 0) return;
  refuse_key(document, "batch", "size",
             fmt::format("batch.size {} is not divisible by batch.lanes {}: choose lanes among the divisors",
                         size, lanes.get<std::uint64_t>()));
}

void check_evaluation(const Json& values, const YamlNode& document) {
  const Json& evaluate = values.at("evaluate");
  const auto loss = values.at("loss").at("kind").get<std::string>();
  const auto metric = evaluate.at("best_by").get<std::string>();
  const std::vector<std::string> known = comparable_metrics(loss);
  if (!metric.empty() && std::find(known.begin(), known.end(), metric) == known.end()) {
    refuse_key(document, "evaluate", "best_by",
               fmt::format("there is no metric '{}' with loss.kind {}{}; known: {}", metric, loss,
                           did_you_mean(metric, known), join(known, ", ")));
  }
  if (evaluate.at("stop_early") > 0 && evaluate.at("split").get<std::string>().empty()) {
    refuse_key(document, "evaluate", "stop_early", "evaluate.stop_early needs evaluate.split");
  }
}

/// Keys of a loss, optimizer or rule that is not the chosen one, unless they have their default.
void check_what_is_ignored(const Json& values, const YamlNode& document) {
  struct Pair {
    const char* section;
    const char* key;
    const char* by;    ///< of the same section
    const char* with;  ///< its value with which the key counts
  };
  constexpr Pair kPairs[] = {{"loss", "pos_weight", "kind", "binary"},
                             {"loss", "class_weights", "kind", "cross_entropy"},
                             {"loss", "label_smoothing", "kind", "cross_entropy"},
                             {"optimizer", "momentum", "name", "sgd"},
                             {"optimizer", "nesterov", "name", "sgd"},
                             {"optimizer", "beta1", "name", "adamw"},
                             {"optimizer", "beta2", "name", "adamw"},
                             {"optimizer", "epsilon", "name", "adamw"},
                             {"evaluate", "cost_false_positive", "choose_threshold", "cost"},
                             {"evaluate", "cost_false_negative", "choose_threshold", "cost"},
                             {"evaluate", "least_recall", "choose_threshold", "recall"}};
  for (const auto& [section, name, by, with] : kPairs) {
    const Json& given = values.at(section);
    if (given.at(by) == with) continue;
    const std::string path = fmt::format("{}.{}", section, name);
    const auto key =
        std::ranges::find_if(config_keys(), [&](const ConfigKey& k) { return k.path() == path; });
    if (given.at(name) == key->option.fallback) continue;
    refuse_key(document, section, name,
               fmt::format("{} counts only with {}.{}: {}", path, section, by, with));
  }
}

void check_class_weights(const Json& weights, const YamlNode& document) {
  const auto refuse = [&](const char* message) { refuse_key(document, "loss", "class_weights", message); };
  double sum = 0;
  for (const Json& weight : weights) {
    if (weight < 0) refuse("loss.class_weights must be at least 0");
    sum += weight.get<double>();
  }
  if (!weights.empty() && sum == 0) refuse("loss.class_weights are all 0: no row would count");
}

/// Refuses, at the key, what has no evaluation to be fitted after, or no probabilities to be fitted to.
void check_decision(const Json& values, const YamlNode& document) {
  const Json& evaluate = values.at("evaluate");
  const auto loss = values.at("loss").at("kind").get<std::string>();
  const auto refuse = [&](const char* key, const std::string& message) {
    refuse_key(document, "evaluate", key, fmt::format("evaluate.{} {}", key, message));
  };
  for (const char* key : {"cost_false_positive", "cost_false_negative", "least_recall"}) {
    const Json& number = evaluate.at(key);
    if (!(number > 0)) refuse(key, fmt::format("is {}: a number above 0 is needed", number.dump()));
  }
  if (evaluate.at("least_recall") > 1)
    refuse("least_recall", fmt::format("is {}: at most 1 is needed", evaluate.at("least_recall").dump()));
  for (const char* key : {"choose_threshold", "calibrate"}) {
    if (evaluate.at(key) == "none") continue;
    if (evaluate.at("split").get<std::string>().empty()) refuse(key, "needs evaluate.split");
    if (loss == "binary" || (loss == "cross_entropy" && std::string_view(key) == "calibrate")) continue;
    refuse(key, std::string_view(key) == "calibrate" ? "counts only with loss.kind: binary or cross_entropy"
                                                     : "counts only with loss.kind: binary");
  }
}

}  // namespace

void check_config(const Json& values, const YamlNode& document) {
  check_ranges(values, document);
  check_batch(values, document);
  check_evaluation(values, document);
  check_decision(values, document);
  check_class_weights(values.at("loss").at("class_weights"), document);
  for (const char* section : {"data", "evaluate"}) {
    if (values.at(section).at("split") == "test") {
      refuse_key(
          document, section, "split",
          fmt::format("{}.split: a run never reads the test split; `muster evaluate --split test` does, "
                      "when it is over",
                      section));
    }
  }
  check_what_is_ignored(values, document);
  if (values.at("loss").at("kind") == "next_token" && !values.at("data").at("labels").empty()) {
    refuse_key(document, "data", "labels", "data.labels: loss.kind next_token has no label to learn");
  }
  for (const char* key : {"init_names", "init_except"}) {
    if (values.at("model").at("init_from").get<std::string>().empty() && !values.at("model").at(key).empty())
      refuse_key(document, "model", key, fmt::format("model.{} counts only with model.init_from", key));
  }
  const Json& optimizer = values.at("optimizer");
  const Json& scale = values.at("train").at("loss_scale");
  if (scale > 0 && scale < 1)
    refuse_key(document, "train", "loss_scale",
               fmt::format("train.loss_scale is {}: 0, or 1 and more, is needed", scale.dump()));
  if (optimizer.at("nesterov") == true && optimizer.at("momentum") == 0) {
    refuse_key(document, "optimizer", "nesterov", "optimizer.nesterov needs optimizer.momentum above 0");
  }
  if (values.at("schedule").at("kind") == "step" && values.at("schedule").at("step_every") == 0) {
    refuse_key(document, "schedule", "kind", "schedule.kind 'step' needs schedule.step_every");
  }
  const Json& log = values.at("log");
  if (log.at("histograms_every_steps") > 0 && log.at("tensorboard") == false) {
    refuse_key(document, "log", "histograms_every_steps",
               "log.histograms_every_steps counts only with log.tensorboard: true");
  }
  const auto trace = attempt([&] { return parse_trace_range(log.at("trace").get<std::string>()); });
  if (!trace) refuse_key(document, "log", "trace", trace.error().message());
  const auto name = values.at("run").at("name").get<std::string>();
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    refuse_key(document, "run", "name", "run.name must be a plain name without '/'");
  }
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    refuse_key(document, "run", "name", "run.name must not have control characters");
  }
}

}  // namespace muster
