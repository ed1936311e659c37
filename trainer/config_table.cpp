#include "trainer/config_table.h"

#include "core/text.h"

namespace muster {

std::vector<ConfigKey> make_config_table() {
  using enum OptionType;
  using enum KeyClass;
  const Json none = nullptr;
  const Json no_items = Json::array();
  return {
      {"run", {"name", kText, "run", "names the run: its directory is run.dir/run.name", {}}, kFree},
      {"run", {"dir", kText, "runs", "where run directories are made", {}}, kFree},
      {"run", {"seed", kUnsigned, 1, "the seed of all randomness: order, start weights, dropout", {}}, kIdentity},

      {"data", {"dataset", kText, none, "directory with contract.yaml and manifest.json", {}}, kFree},
      {"data", {"root", kText, "", "where the partitions lie, if not beside the manifest", {}}, kFree},
      {"data", {"split", kText, "train", "the split to train on", {}}, kIdentity},
      {"data", {"features", kTextList, no_items, "fields to use; empty: every field with role feature", {}}, kIdentity},

      {"loader", {"memory", kBytes, std::uint64_t{1} << 30, "bound for the loader's memory on each rank", {}}, kFree},
      {"loader", {"threads", kUnsigned, 1, "prefetching threads on each rank", {}}, kFree},

      {"batch", {"size", kUnsigned, 256, "samples per step, over all ranks", {}}, kIdentity},
      {"batch",
       {"lanes", kUnsigned, none, "logical readers, a divisor of batch.size; the most ranks a run can use. Default: the largest "
                                  "divisor up to 64", {}},
       kIdentity},
      {"batch",
       {"window", kUnsigned, none, "blocks of a lane that are shuffled together. Default: 4 x batch.size blocks over all lanes, as "
                                   "far as loader.memory allows at the first start", {}},
       kIdentity},

      {"loss", {"kind", kText, "mse", "what is minimised", {"cross_entropy", "binary", "mse"}}, kIdentity},
      {"loss", {"pos_weight", kNumber, 1.0, "binary: weight of a positive row", {}}, kIdentity},
      {"loss", {"class_weights", kNumberList, no_items, "cross_entropy: a weight per class; empty: all 1", {}}, kIdentity},
      {"loss", {"label_smoothing", kNumber, 0.0, "cross_entropy: in [0, 1)", {}}, kIdentity},

      {"optimizer", {"name", kText, "adamw", "the optimizer", {"adamw", "sgd"}}, kTrajectory},
      {"optimizer", {"learning_rate", kNumber, 1e-3, "its peak", {}}, kTrajectory},
      {"optimizer", {"weight_decay", kNumber, 0.0, "decoupled for adamw, L2 for sgd", {}}, kTrajectory},
      {"optimizer", {"momentum", kNumber, 0.0, "sgd", {}}, kTrajectory},
      {"optimizer", {"nesterov", kBoolean, false, "sgd", {}}, kTrajectory},
      {"optimizer", {"beta1", kNumber, 0.9, "adamw", {}}, kTrajectory},
      {"optimizer", {"beta2", kNumber, 0.999, "adamw", {}}, kTrajectory},
      {"optimizer", {"epsilon", kNumber, 1e-8, "adamw", {}}, kTrajectory},

      {"schedule", {"kind", kText, "constant", "after the warm-up", {"constant", "cosine", "linear", "step"}}, kTrajectory},
      {"schedule", {"warmup_steps", kUnsigned, 0, "linear warm-up", {}}, kTrajectory},
      {"schedule", {"final_ratio", kNumber, 0.0, "cosine, linear: last rate as a share of the peak", {}}, kTrajectory},
      {"schedule", {"step_every", kUnsigned, 0, "step: steps between two cuts", {}}, kTrajectory},
      {"schedule", {"step_ratio", kNumber, 0.1, "step: factor of a cut", {}}, kTrajectory},
      {"schedule", {"horizon", kUnsigned, none, "steps the schedule is made for. Default: all steps of the run", {}}, kTrajectory},

      {"train", {"epochs", kUnsigned, none, "passes over the training split (or give train.steps)", {}}, kTrajectory},
      {"train", {"steps", kUnsigned, none, "optimizer steps (or give train.epochs)", {}}, kTrajectory},
      {"train", {"threads", kUnsigned, none, "compute threads on each rank. Default: cores / ranks on this host", {}}, kTrajectory},
      {"train", {"clip_norm", kNumber, 0.0, "bound of the gradients' global norm; 0: none", {}}, kTrajectory},
      {"train", {"micro_batch", kUnsigned, 0, "most rows in one forward pass; 0: the rank's whole share", {}}, kTrajectory},

      {"evaluate", {"split", kText, "validation", "evaluated during and after training; \"\": none", {}}, kTrajectory},
      {"evaluate", {"every_steps", kUnsigned, 0, "0: at the end of each epoch", {}}, kTrajectory},
      {"evaluate", {"micro_batch", kUnsigned, 1024, "rows scored together", {}}, kTrajectory},
      {"evaluate", {"threshold", kNumber, 0.5, "binary: scores from here up count as positive", {}}, kTrajectory},
      {"evaluate", {"best_by", kText, "", "metric that chooses the best checkpoint. Default: auc, accuracy or rmse by the loss", {}},
       kTrajectory},
      {"evaluate", {"stop_early", kUnsigned, 0, "stop after so many evaluations without a better one; 0: never", {}}, kTrajectory},

      {"checkpoint", {"every_steps", kUnsigned, 0, "0: only by time, on signals and at the end", {}}, kFree},
      {"checkpoint", {"every_seconds", kNumber, 600.0, "0: never by time", {}}, kFree},
      {"checkpoint", {"keep", kUnsigned, 2, "good checkpoints kept, at least 2; the best one is kept beside them", {}}, kFree},

      {"log", {"every_steps", kUnsigned, 50, "steps between two progress lines", {}}, kFree},
      {"log", {"deadline_seconds", kNumber, 120.0, "how long a collective may wait before the run is given up", {}}, kFree},
  };
}

namespace {

/// Fails where the key stands in the file, or at the file as a whole when it is not written there.
[[noreturn]] void refuse(const YamlNode& document, const char* section, const char* key, const std::string& message) {
  const YamlNode* at = document.find(section);
  at = at != nullptr && at->is_map() ? at->find(key) : nullptr;
  (at != nullptr ? *at : document).fail_here(message);
}

}  // namespace

void check_config(const Json& values, const YamlNode& document) {
  const auto number = [&](const char* section, const char* key) { return values.at(section).at(key).get<double>(); };
  const auto at_least = [&](const char* section, const char* key, double least) {
    if (values.at(section).at(key).is_null() || number(section, key) >= least) return;
    refuse(document, section, key, fmt::format("{}.{} is {}, at least {} is needed", section, key, number(section, key), least));
  };
  at_least("batch", "size", 1);
  at_least("batch", "lanes", 1);
  at_least("batch", "window", 1);
  at_least("loader", "threads", 1);
  at_least("train", "threads", 1);
  at_least("train", "epochs", 1);
  at_least("train", "steps", 1);
  at_least("train", "clip_norm", 0);
  at_least("checkpoint", "keep", 2);
  at_least("checkpoint", "every_seconds", 0);
  at_least("evaluate", "micro_batch", 1);
  at_least("log", "every_steps", 1);
  at_least("log", "deadline_seconds", 1);
  at_least("optimizer", "learning_rate", 0);
  at_least("loss", "pos_weight", 0);
  if (values["loss"]["label_smoothing"] < 0.0 || values["loss"]["label_smoothing"] >= 1.0) {
    refuse(document, "loss", "label_smoothing", "loss.label_smoothing must be in [0, 1)");
  }
  if (values["schedule"]["kind"] == "step" && values["schedule"]["step_every"] == 0) {
    refuse(document, "schedule", "kind", "schedule.kind 'step' needs schedule.step_every");
  }
  if (values["run"]["name"].get<std::string>().find('/') != std::string::npos || values["run"]["name"] == "") {
    refuse(document, "run", "name", "run.name must be a plain name without '/'");
  }
  const auto& lanes = values["batch"]["lanes"];
  const auto size = values["batch"]["size"].get<std::uint64_t>();
  if (!lanes.is_null() && size % lanes.get<std::uint64_t>() != 0) {
    refuse(document, "batch", "size", fmt::format("batch.size {} is not divisible by batch.lanes {}: choose lanes among the divisors", size,
                                 lanes.get<std::uint64_t>()));
  }
}

}  // namespace muster
