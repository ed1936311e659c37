#include "trainer/config_table.h"

#include <algorithm>
#include <limits>

#include "core/text.h"
#include "trainer/decision.h"
#include "trainer/metrics.h"

namespace muster {

std::vector<ConfigKey> make_config_table() {
  using enum OptionType;
  using enum KeyClass;
  const Json none = nullptr;
  const Json no_items = Json::array();
  return {
      {"run", {"name", kText, "run", "names the run: its directory is run.dir/run.name", {}}, kFree},
      {"run", {"dir", kText, "runs", "where run directories are made", {}}, kFree},
      {"run",
       {"seed", kUnsigned, 1, "the seed of all randomness: order, start weights, dropout", {}},
       kIdentity},

      {"data", {"dataset", kText, none, "directory with contract.yaml and manifest.json", {}}, kFree},
      {"data", {"root", kText, "", "where the partitions lie, if not beside the manifest", {}}, kFree},
      {"data", {"split", kText, "train", "the split to train on", {}}, kIdentity},
      {"data",
       {"features",
        kTextList,
        no_items,
        "fields to use; empty: every feature, and a time that has a transform",
        {}},
       kIdentity},
      {"data",
       {"labels", kTextList, no_items, "fields to learn; empty: every field with role label", {}},
       kIdentity},
      {"data",
       {"leaks",
        kText,
        "refuse",
        "signs that a feature knows the label, or that rows are on both sides of the split: refuse to train, "
        "or warn",
        {"refuse", "warn"}},
       kTrajectory},

      {"loader",
       {"memory", kBytes, std::uint64_t{1} << 30, "bound for the loader's memory on each rank", {}},
       kFree},
      {"loader", {"threads", kUnsigned, 1, "prefetching threads on each rank", {}}, kFree},

      {"batch", {"size", kUnsigned, 256, "samples per step, over all ranks", {}}, kIdentity},
      {"batch",
       {"lanes",
        kUnsigned,
        none,
        "logical readers, a divisor of batch.size; the most ranks a run can use. Default: the largest "
        "divisor up to 64",
        {}},
       kIdentity},
      {"batch",
       {"window",
        kUnsigned,
        none,
        "blocks of a lane that are shuffled together. Default: 4 x batch.size blocks over all lanes, as "
        "far as loader.memory allows at the first start",
        {}},
       kIdentity},

      {"loss",
       {"kind", kText, "mse", "what is minimised", {"cross_entropy", "binary", "mse", "next_token"}},
       kIdentity},
      {"loss", {"pos_weight", kNumber, 1.0, "binary: weight of a positive row", {}}, kIdentity},
      {"loss",
       {"class_weights", kNumberList, no_items, "cross_entropy: a weight per class; empty: all 1", {}},
       kIdentity},
      {"loss", {"label_smoothing", kNumber, 0.0, "cross_entropy: in [0, 1)", {}}, kIdentity},

      {"optimizer", {"name", kText, "adamw", "the optimizer", {"adamw", "sgd"}}, kTrajectory},
      {"optimizer", {"learning_rate", kNumber, 1e-3, "its peak", {}}, kTrajectory},
      {"optimizer", {"weight_decay", kNumber, 0.0, "decoupled for adamw, L2 for sgd", {}}, kTrajectory},
      {"optimizer", {"momentum", kNumber, 0.0, "sgd", {}}, kTrajectory},
      {"optimizer", {"nesterov", kBoolean, false, "sgd", {}}, kTrajectory},
      {"optimizer", {"beta1", kNumber, 0.9, "adamw", {}}, kTrajectory},
      {"optimizer", {"beta2", kNumber, 0.999, "adamw", {}}, kTrajectory},
      {"optimizer", {"epsilon", kNumber, 1e-8, "adamw", {}}, kTrajectory},

      {"schedule",
       {"kind", kText, "constant", "after the warm-up", {"constant", "cosine", "linear", "step"}},
       kTrajectory},
      {"schedule", {"warmup_steps", kUnsigned, 0, "linear warm-up", {}}, kTrajectory},
      {"schedule",
       {"final_ratio", kNumber, 0.0, "cosine, linear: last rate as a share of the peak", {}},
       kTrajectory},
      {"schedule", {"step_every", kUnsigned, 0, "step: steps between two cuts", {}}, kTrajectory},
      {"schedule", {"step_ratio", kNumber, 0.1, "step: factor of a cut", {}}, kTrajectory},
      {"schedule",
       {"horizon", kUnsigned, none, "steps the schedule is made for. Default: all steps of the run", {}},
       kTrajectory},

      {"train",
       {"epochs", kUnsigned, none, "passes over the training split (or give train.steps)", {}},
       kTrajectory},
      {"train", {"steps", kUnsigned, none, "optimizer steps (or give train.epochs)", {}}, kTrajectory},
      {"train",
       {"threads", kUnsigned, none, "compute threads on each rank. Default: cores / ranks on this host", {}},
       kTrajectory},
      {"train", {"clip_norm", kNumber, 0.0, "bound of the gradients' global norm; 0: none", {}}, kTrajectory},
      {"train",
       {"on_bad_step",
        kText,
        "stop",
        "a step whose loss or gradient is not finite, or a spike: end the run; leave its update out; or go "
        "back "
        "to the last checkpoint and leave it out the second time",
        {"stop", "skip", "rollback"}},
       kTrajectory},
      {"train",
       {"most_bad_steps", kUnsigned, 10, "skip, rollback: the run ends with one bad step more", {}},
       kTrajectory},
      {"train",
       {"spike_factor",
        kNumber,
        0.0,
        "a loss above so many times its mean over the last 100 steps or so is bad; 0: only what is not "
        "finite",
        {}},
       kTrajectory},
      {"train",
       {"compare_every_steps",
        kUnsigned,
        1000,
        "whether all ranks have the same weights is looked at after so many steps, and with each checkpoint; "
        "0: "
        "only then",
        {}},
       kFree},
      {"train",
       {"wall_seconds",
        kNumber,
        0.0,
        "checkpoint and stop in time before so many seconds are over; 0: no limit but the scheduler's "
        "(SLURM_JOB_END_TIME)",
        {}},
       kFree},
      {"train",
       {"micro_batch", kUnsigned, 0, "most rows in one forward pass; 0: the rank's whole share", {}},
       kTrajectory},

      {"evaluate",
       {"split", kText, "validation", "evaluated during and after training; \"\": none", {}},
       kTrajectory},
      {"evaluate", {"every_steps", kUnsigned, 0, "0: at the end of each epoch", {}}, kTrajectory},
      {"evaluate", {"micro_batch", kUnsigned, 1024, "rows scored together", {}}, kTrajectory},
      {"evaluate",
       {"threshold", kNumber, 0.5, "binary: probabilities from here up count as positive, in [0, 1]", {}},
       kTrajectory},
      {"evaluate",
       {"choose_threshold",
        kText,
        "none",
        "binary: the threshold that is best on the rows of each evaluation: by F1, by cost, or the "
        "greatest with evaluate.least_recall; of equally good ones the greatest",
        {"none", "f1", "cost", "recall"}},
       kTrajectory},
      {"evaluate",
       {"cost_false_positive", kNumber, 1.0, "choose_threshold cost: of a false alarm", {}},
       kTrajectory},
      {"evaluate",
       {"cost_false_negative", kNumber, 1.0, "choose_threshold cost: of a positive that is missed", {}},
       kTrajectory},
      {"evaluate", {"least_recall", kNumber, 0.9, "choose_threshold recall: in (0, 1]", {}}, kTrajectory},
      {"evaluate",
       {"calibrate",
        kText,
        "none",
        "binary, cross_entropy: fit to the rows of each evaluation what scores are divided by before they "
        "become probabilities",
        {"none", "temperature"}},
       kTrajectory},
      {"evaluate",
       {"best_by",
        kText,
        "",
        "metric that chooses the best checkpoint. Default: auc, accuracy, rmse or loss by the loss; loss for "
        "several labels of mse",
        {}},
       kTrajectory},
      {"evaluate",
       {"stop_early", kUnsigned, 0, "stop after so many evaluations without a better one; 0: never", {}},
       kTrajectory},

      {"checkpoint", {"every_steps", kUnsigned, 0, "0: only by time, on signals and at the end", {}}, kFree},
      {"checkpoint", {"every_seconds", kNumber, 600.0, "0: never by time", {}}, kFree},
      {"checkpoint",
       {"keep", kUnsigned, 2, "good checkpoints kept, at least 2; the best one is kept beside them", {}},
       kFree},

      {"checkpoint",
       {"keep_every_steps", kUnsigned, 0, "those of a step divisible by it are kept for ever; 0: none", {}},
       kFree},
      {"checkpoint",
       {"mean_hours_between_failures",
        kNumber,
        0.0,
        "of the whole job; above 0: the time between two checkpoints follows from it and from what one "
        "costs, "
        "as measured (Young and Daly), in place of checkpoint.every_seconds",
        {}},
       kFree},
      {"checkpoint",
       {"give_up_seconds",
        kNumber,
        3600.0,
        "a checkpoint that cannot be written is tried again; the run ends where all tries of so long fail",
        {}},
       kFree},

      {"log", {"every_steps", kUnsigned, 50, "steps between two progress lines", {}}, kFree},
      {"log", {"tensorboard", kBoolean, true, "event files for TensorBoard in the run directory", {}}, kFree},
      {"log",
       {"histograms_every_steps",
        kUnsigned,
        0,
        "steps between two histograms of each weight and gradient for TensorBoard; 0: none",
        {}},
       kFree},
      {"log",
       {"deadline_seconds",
        kNumber,
        none,
        "how long a collective may wait before the run is given up. Default: 20 times the slowest step, at "
        "least "
        "60; 900 before the first",
        {}},
       kFree},
  };
}

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
    {"loss", "pos_weight", kAbove0, kAny},
    {"loss", "label_smoothing", 0, kBelow1},
    {"optimizer", "learning_rate", 0, kAny},
    {"optimizer", "weight_decay", 0, kAny},
    {"optimizer", "momentum", 0, kAny},
    {"optimizer", "beta1", 0, kBelow1},
    {"optimizer", "beta2", 0, kBelow1},
    {"optimizer", "epsilon", kAbove0, kAny},
    {"schedule", "final_ratio", 0, kAny},
    {"schedule", "step_ratio", 0, kAny},
    {"train", "epochs", 1, kMost32},
    {"train", "steps", 1, 0x1p53},
    {"train", "threads", 1, 65536},
    {"train", "clip_norm", 0, kAny},
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
  const Json& optimizer = values.at("optimizer");
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
  const auto name = values.at("run").at("name").get<std::string>();
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    refuse_key(document, "run", "name", "run.name must be a plain name without '/'");
  }
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    refuse_key(document, "run", "name", "run.name must not have control characters");
  }
}

}  // namespace muster
