// The configuration: strict reading with places, overrides, what may change on resume, and that a resolved
// file reads back.
#include "trainer/config/config.h"
#include "trainer/config/metric_names.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "core/random.h"
#include "trainer/config/config_table.h"
#include "trainer/evaluation/metrics.h"

namespace muster {
namespace {

using Texts = std::vector<std::string>;

const std::vector<ModelOptions> kModels = {
    {"mlp",
     {{"hidden", OptionType::kIntegerList, Json::array({64}), "", {}},
      {"dropout", OptionType::kNumber, 0.0, "", {}},
      {"width", OptionType::kUnsigned, nullptr, "", {}}}},
    {"linear", {{"bias", OptionType::kBoolean, true, "", {}}}},
};

const std::string kSmall = "data:\n  dataset: d\ntrain:\n  epochs: 3\nmodel:\n  name: mlp\n";

Config parse(const std::string& text, const Texts& overrides = {}) {
  return Config::parse(YamlNode::parse(text, "c.yaml"), overrides, kModels);
}

/// The error's line, with its code in front.
std::string error_of(const std::string& text, const Texts& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const Error& error) {
    return std::to_string(error.exit_code()) + " " + error.what();
  }
  return "no error";
}

TEST(ConfigTable, EveryKeyHasHelpAndItsDefaultIsOfItsType) {
  std::set<std::string> paths;
  for (const ConfigKey& key : config_keys()) {
    EXPECT_FALSE(key.option.help.empty()) << key.path();
    EXPECT_TRUE(paths.insert(key.path()).second) << key.path() << " is in the table twice";
    if (key.option.fallback.is_null()) continue;
    const YamlNode node = YamlNode::parse(to_yaml(Json{{"k", key.option.fallback}}), "");
    EXPECT_EQ(read_option(key.option, node.require("k")), key.option.fallback) << key.path();
  }
  EXPECT_GT(paths.size(), 40U);
}

TEST(ConfigTable, EveryLossHasComparableMetrics) {
  for (const ConfigKey& key : config_keys()) {
    if (key.path() != "loss.kind") continue;
    for (const std::string& loss : key.option.choices) {
      for (const std::string& metric : comparable_metrics(loss))
        EXPECT_NO_THROW(larger_is_better(metric)) << metric;
    }
  }
}

TEST(Config, FillsInDefaultsAndKeepsWhatIsGiven) {
  const Config config = parse(kSmall + "batch:\n  size: 30\n  lanes: 6\n");
  EXPECT_EQ(config.unsigned_at("batch", "size"), 30U);
  EXPECT_EQ(config.unsigned_at("batch", "lanes"), 6U);
  EXPECT_EQ(config.text_at("run", "name"), "run");
  EXPECT_EQ(config.number_at("optimizer", "beta1"), 0.9);
  EXPECT_TRUE(config.at("batch", "window").is_null());
  EXPECT_EQ(config.section("model"),
            Json::parse(R"({"name": "mlp", "hidden": [64], "dropout": 0.0, "width": null,
                            "init_from": "", "init_names": [], "init_except": [], "frozen": []})"));
  for (const ConfigKey& key : config_keys())
    EXPECT_TRUE(config.section(key.section).contains(key.option.name));
  EXPECT_EQ(config.with("batch", "window", 4).unsigned_at("batch", "window"), 4U);
  EXPECT_TRUE(config.at("batch", "window").is_null());
}

TEST(Config, ValuesOfAProgramAreCheckedAsAFilesAre) {
  const Json given = {{"data", {{"dataset", "a: \"b\"\n~"}, {"root", "yes"}}},
                      {"train", {{"epochs", 3}}},
                      {"optimizer", {{"epsilon", 1e-05}, {"nesterov", false}}},
                      {"batch", {{"lanes", nullptr}}},
                      {"model", {{"name", "mlp"}, {"hidden", {8, 4}}}}};
  const Config config = Config::of(given, kModels);
  EXPECT_EQ(config.text_at("data", "dataset"), "a: \"b\"\n~");
  EXPECT_EQ(config.text_at("data", "root"), "yes");
  EXPECT_EQ(config.number_at("optimizer", "epsilon"), 1e-05);
  EXPECT_EQ(config.at("model", "hidden"), Json::array({8, 4}));
  EXPECT_EQ(config.at("batch", "lanes"), nullptr);
  EXPECT_EQ(config.unsigned_at("batch", "size"), 256U);
  const auto refusal = [&](const char* section, const char* key, const Json& value) -> std::string {
    Json changed = given;
    changed[section][key] = value;
    try {
      Config::of(changed, kModels);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kConfig);
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(refusal("train", "epocks", 3).find("did you mean 'epochs'"), std::string::npos);
  EXPECT_NE(refusal("train", "epochs", "3 or so").find("the given configuration:"), std::string::npos);
  EXPECT_NE(refusal("data", "root", "\xff").find("UTF-8"), std::string::npos);
}

TEST(Config, AKeyThatDoesNotExistIsABug) {
  const Config config = parse(kSmall);
  for (const auto& [section, key] : {std::pair("batch", "sise"), std::pair("bach", "size")}) {
    const auto value = attempt([&, section = section, key = key] { return config.at(section, key); });
    ASSERT_FALSE(value.ok());
    EXPECT_EQ(value.error().code(), ErrorCode::kBug);
  }
}

TEST(Config, UnknownKeysAndSectionsAreRefusedWhereTheyStand) {
  EXPECT_EQ(error_of(kSmall + "batch:\n  sise: 3\n"),
            "78 c.yaml:8:3: unknown key 'sise' (did you mean 'size'?)");
  EXPECT_EQ(error_of(kSmall + "optimiser:\n  name: sgd\n"),
            "78 c.yaml:7:1: unknown key 'optimiser' (did you mean 'optimizer'?)");
  EXPECT_EQ(error_of(kSmall + "  hiden: [1]\n"),
            "78 c.yaml:7:3: unknown key 'hiden' (did you mean 'hidden'?)");
}

TEST(Config, WrongTypesAreRefusedWhereTheyStand) {
  EXPECT_EQ(error_of(kSmall + "batch:\n  size: many\n"),
            "78 c.yaml:8:3: an integer of at least 0 was expected, found 'many'");
  EXPECT_EQ(error_of(kSmall + "batch: 3\n"), "78 c.yaml:7:1: a map was expected, found '3'");
  EXPECT_EQ(error_of(kSmall + "batch:\n"), "78 c.yaml:7:1: a map was expected, found nothing");
  EXPECT_EQ(error_of(kSmall + "optimizer: {learning_rate: .inf}\n"),
            "78 c.yaml:7:13: a finite number was expected");
  EXPECT_EQ(error_of("[1]"), "78 c.yaml:1:1: is no config: a map of sections was expected");
  EXPECT_EQ(error_of(""), "78 c.yaml: is no config: a map of sections was expected");
}

TEST(Config, WhatMustBeGivenIsNamed) {
  EXPECT_EQ(error_of("train: {epochs: 1}\nmodel: {name: mlp}"),
            "78 c.yaml:1:1: 'data.dataset' is missing: the directory of the dataset");
  EXPECT_EQ(error_of("data: {dataset: d}\nmodel: {name: mlp}"),
            "78 c.yaml:1:1: 'train.epochs' or 'train.steps' is missing: how long to train");
  EXPECT_EQ(error_of("data: {dataset: d}\nmodel: {name: mlp}\ntrain:\n  epochs: 1\n  steps: 2\n"),
            "78 c.yaml:5:3: both 'train.epochs' and 'train.steps' are given: leave one out (--set "
            "train.epochs=~ takes it back)");
  EXPECT_EQ(error_of("data: {dataset: d}\ntrain: {epochs: 1}"),
            "78 c.yaml:1:1: section 'model' is missing: it needs at least 'name'");
  EXPECT_EQ(error_of("data: {dataset: d}\ntrain: {epochs: 1}\nmodel: {hidden: [1]}"),
            "78 c.yaml:3:1: 'name' is missing");
  EXPECT_EQ(error_of("data: {dataset: d}\ntrain: {epochs: 1}\nmodel: {name: mpl}"),
            "78 c.yaml:3:9: there is no model 'mpl' (did you mean 'mlp'?); known: mlp, linear");
  EXPECT_EQ(error_of("data: {dataset: d}\ntrain: {epochs: 1}\nmodel: {name: linea}"),
            "78 c.yaml:3:9: there is no model 'linea' (did you mean 'linear'?); known: mlp, linear");
}

TEST(Config, ValuesOutOfRangeAreRefused) {
  EXPECT_EQ(
      error_of(kSmall + "batch:\n  size: 30\n  lanes: 7\n"),
      "78 c.yaml:8:3: batch.size 30 is not divisible by batch.lanes 7: choose lanes among the divisors");
  EXPECT_EQ(error_of(kSmall + "batch: {size: 0}\n"), "78 c.yaml:7:9: batch.size is 0: at least 1 is needed");
  EXPECT_EQ(error_of(kSmall + "batch: {lanes: 0}\n"),
            "78 c.yaml:7:9: batch.lanes is 0: at least 1 is needed");
  EXPECT_EQ(error_of(kSmall + "batch: {size: 4294967296}\n"),
            "78 c.yaml:7:9: batch.size is 4294967296: at most 4294967295 is needed");
  EXPECT_EQ(error_of(kSmall + "checkpoint: {keep: 1}\n"),
            "78 c.yaml:7:14: checkpoint.keep is 1: at least 2 is needed");
  EXPECT_EQ(error_of(kSmall + "optimizer: {beta2: 1}\n"),
            "78 c.yaml:7:13: optimizer.beta2 is 1.0: a number below 1 is needed");
  EXPECT_EQ(error_of(kSmall + "optimizer: {epsilon: 0}\n"),
            "78 c.yaml:7:13: optimizer.epsilon is 0.0: a number above 0 is needed");
  EXPECT_EQ(error_of(kSmall + "loss: {label_smoothing: 1}\n"),
            "78 c.yaml:7:8: loss.label_smoothing is 1.0: a number below 1 is needed");
  EXPECT_EQ(error_of(kSmall + "loss: {class_weights: [1, -1]}\n"),
            "78 c.yaml:7:8: loss.class_weights must be at least 0");
  EXPECT_EQ(error_of(kSmall + "optimizer: {nesterov: true, name: sgd}\n"),
            "78 c.yaml:7:13: optimizer.nesterov needs optimizer.momentum above 0");
  EXPECT_EQ(error_of(kSmall + "schedule: {kind: step}\n"),
            "78 c.yaml:7:12: schedule.kind 'step' needs schedule.step_every");
  EXPECT_EQ(error_of(kSmall, {"train.epochs=0"}), "78 c.yaml:4:3: train.epochs is 0: at least 1 is needed");
  for (const char* name : {"a/b", "''", ".", ".."}) {
    EXPECT_EQ(error_of(kSmall + "run: {name: " + name + "}\n"),
              "78 c.yaml:7:7: run.name must be a plain name without '/'");
  }
}

TEST(Config, WhatWouldBeIgnoredIsRefused) {
  EXPECT_EQ(error_of(kSmall + "log: {tensorboard: false, histograms_every_steps: 10}\n"),
            "78 c.yaml:7:27: log.histograms_every_steps counts only with log.tensorboard: true");
  EXPECT_EQ(error_of(kSmall + "log: {histograms_every_steps: 10}\n"), "no error");
  EXPECT_EQ(error_of(kSmall + "loss: {kind: mse, pos_weight: 3}\n"),
            "78 c.yaml:7:19: loss.pos_weight counts only with loss.kind: binary");
  EXPECT_EQ(error_of(kSmall + "loss: {kind: binary, class_weights: [1, 2]}\n"),
            "78 c.yaml:7:22: loss.class_weights counts only with loss.kind: cross_entropy");
  EXPECT_EQ(error_of(kSmall + "loss: {kind: binary, label_smoothing: 0.1}\n").substr(0, 13), "78 c.yaml:7:2");
  EXPECT_EQ(error_of(kSmall + "optimizer: {momentum: 0.9}\n").substr(0, 13), "78 c.yaml:7:1");
  EXPECT_EQ(error_of(kSmall + "optimizer: {name: sgd, beta2: 0.98}\n"),
            "78 c.yaml:7:24: optimizer.beta2 counts only with optimizer.name: adamw");
  EXPECT_EQ(error_of(kSmall + "optimizer: {name: sgd, beta2: 0.999}\n"), "no error");  // its default
  EXPECT_EQ(error_of(kSmall + "optimizer: {name: sgd, momentum: 0.9, nesterov: true}\n"), "no error");
}

TEST(Config, WeightsAndThresholdsThatCountNothingAreRefused) {
  const std::string binary = kSmall + "loss: {kind: binary}\n";
  EXPECT_EQ(error_of(kSmall + "loss: {kind: binary, pos_weight: 0}\n"),
            "78 c.yaml:7:22: loss.pos_weight is 0.0: a number above 0 is needed");
  for (const char* odd : {"-0.1", "1.5", "50"})
    EXPECT_EQ(error_of(binary, {std::string("evaluate.threshold=") + odd}).substr(0, 3), "78 ") << odd;
  EXPECT_EQ(error_of(binary, {"evaluate.threshold=0", "loss.pos_weight=1e-3"}), "no error");
  EXPECT_EQ(error_of(kSmall + "loss: {kind: cross_entropy, class_weights: [0, 0.0]}\n"),
            "78 c.yaml:7:29: loss.class_weights are all 0: no row would count");
  EXPECT_EQ(error_of(kSmall + "loss: {kind: cross_entropy, class_weights: [0, 1]}\n"), "no error");
}

TEST(Config, ARuleForTheThresholdIsRefusedWhereItWouldNotCount) {
  const std::string binary = kSmall + "loss: {kind: binary}\n";
  EXPECT_EQ(error_of(kSmall + "evaluate: {choose_threshold: f1}\n"),
            "78 c.yaml:7:12: evaluate.choose_threshold counts only with loss.kind: binary");
  EXPECT_EQ(error_of(kSmall + "evaluate: {calibrate: temperature}\n"),
            "78 c.yaml:7:12: evaluate.calibrate counts only with loss.kind: binary or cross_entropy");
  EXPECT_EQ(error_of(kSmall + "loss: {kind: cross_entropy}\nevaluate: {calibrate: temperature}\n"),
            "no error");
  EXPECT_EQ(error_of(kSmall + "loss: {kind: cross_entropy}\nevaluate: {choose_threshold: f1}\n").substr(0, 3),
            "78 ");
  EXPECT_EQ(error_of(binary + "evaluate: {least_recall: 0.8}\n"),
            "78 c.yaml:8:12: evaluate.least_recall counts only with evaluate.choose_threshold: recall");
  EXPECT_EQ(error_of(binary + "evaluate: {choose_threshold: f1, cost_false_negative: 3}\n"),
            "78 c.yaml:8:34: evaluate.cost_false_negative counts only with evaluate.choose_threshold: cost");
  EXPECT_EQ(error_of(binary + "evaluate: {choose_threshold: cost, cost_false_positive: 0}\n"),
            "78 c.yaml:8:36: evaluate.cost_false_positive is 0.0: a number above 0 is needed");
  EXPECT_EQ(error_of(binary + "evaluate: {choose_threshold: recall, least_recall: 1.1}\n"),
            "78 c.yaml:8:38: evaluate.least_recall is 1.1: at most 1 is needed");
  for (const char* key : {"choose_threshold: f1", "calibrate: temperature"})
    EXPECT_NE(error_of(binary + "evaluate: {split: '', " + key + "}\n").find("needs evaluate.split"),
              std::string::npos);
  EXPECT_EQ(
      error_of(binary + "evaluate: {choose_threshold: recall, least_recall: 1, calibrate: temperature}\n"),
      "no error");
  EXPECT_EQ(error_of(binary + "evaluate: {choose_threshold: cost, cost_false_negative: 25}\n"), "no error");
}

TEST(Config, AMetricThatTheLossDoesNotGiveIsRefusedAtOnce) {
  EXPECT_EQ(error_of(kSmall + "evaluate: {best_by: auc}\n"),
            "78 c.yaml:7:12: there is no metric 'auc' with loss.kind mse; known: loss, "
            "mae, relative_l2, rmse");
  EXPECT_EQ(error_of(kSmall + "evaluate: {best_by: auc}\nloss: {kind: binary}\n"), "no error");
  EXPECT_EQ(error_of(kSmall + "evaluate: {split: '', stop_early: 3}\n"),
            "78 c.yaml:7:23: evaluate.stop_early needs evaluate.split");
}

TEST(ConfigOverrides, ReplaceValuesOfTheFile) {
  const Config config =
      parse(kSmall, {"train.epochs=5", "batch.size=64", "data.features=[a, b]", "run.name=x=y",
                     "model.hidden=[8, 8]", "batch.size=32", "data.root=''"});
  EXPECT_EQ(config.unsigned_at("train", "epochs"), 5U);
  EXPECT_EQ(config.unsigned_at("batch", "size"), 32U);
  EXPECT_EQ(config.at("data", "features"), Json::parse(R"(["a", "b"])"));
  EXPECT_EQ(config.text_at("run", "name"), "x=y");
  EXPECT_EQ(config.at("model", "hidden"), Json::parse("[8, 8]"));
}

TEST(ConfigOverrides, CanSwitchFromEpochsToSteps) {
  const Config config = parse(kSmall, {"train.steps=7", "train.epochs=~"});
  EXPECT_TRUE(config.at("train", "epochs").is_null());
  EXPECT_EQ(config.unsigned_at("train", "steps"), 7U);
}

TEST(ConfigOverrides, CanNameAnotherModel) {
  const Config config = parse(kSmall, {"model.name=linear", "model.bias=false"});
  EXPECT_EQ(config.section("model"), Json::parse(R"({"name": "linear", "bias": false,
                            "init_from": "", "init_names": [], "init_except": [], "frozen": []})"));
  EXPECT_EQ(error_of(kSmall + "  dropout: 0.5\n", {"model.name=linear"}),
            "78 c.yaml:7:3: unknown key 'dropout'");
  EXPECT_EQ(error_of(kSmall, {"model.name=linera"}),
            "78 --set model.name=linera:1:1: there is no model 'linera' (did you mean 'linear'?); known: "
            "mlp, linear");
}

TEST(ConfigOverrides, WrongOnesAreRefused) {
  for (const char* bad : {"", "=", "epochs=3", "train.epochs", "train=3.5"}) {
    EXPECT_EQ(error_of(kSmall, {bad}).substr(0, 3), "64 ") << bad;
  }
  EXPECT_EQ(error_of(kSmall, {"train.epoch=3"}),
            "78 --set train.epoch=3:1:1: unknown key 'train.epoch' (did you mean 'train.epochs'?)");
  EXPECT_EQ(error_of(kSmall, {"trian.epochs=3"}),
            "78 --set trian.epochs=3:1:1: unknown key 'trian.epochs' (did you mean 'train.epochs'?)");
  EXPECT_EQ(error_of(kSmall, {"model.hiden=3"}),
            "78 --set model.hiden=3:1:1: unknown key 'model.hiden' (did you mean 'model.hidden'?)");
  EXPECT_EQ(error_of(kSmall, {"train.epochs=x"}),
            "78 --set train.epochs=x:1:1: an integer of at least 0 was expected, found 'x'");
  EXPECT_EQ(error_of(kSmall, {"batch.size=~"}),
            "78 --set batch.size=~:1:1: an integer of at least 0 was expected, found nothing");
  EXPECT_EQ(error_of(kSmall, {"data.features=[a"}).substr(0, 27), "78 --set data.features=[a:1");
}

TEST(ConfigFile, LoadNamesTheFile) {
  const auto path =
      std::filesystem::temp_directory_path() / ("muster-config-" + std::to_string(::getpid()) + ".yaml");
  std::ofstream(path) << kSmall << "batch: {sise: 1}\n";
  const auto loaded = attempt([&] { return Config::load(path, {}, kModels); });
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().where(), path.string() + ":7:9");
  std::filesystem::remove(path);
  EXPECT_EQ(attempt([&] { return Config::load(path, {}, kModels); }).error().code(), ErrorCode::kConfig);
}

TEST(ConfigChanges, AreClassedByWhatTheyMean) {
  const Config before = parse(kSmall);
  const auto classes = [&](const Texts& overrides) {
    std::vector<std::pair<std::string, KeyClass>> result;
    for (const ConfigChange& change : config_changes(before, parse(kSmall, overrides))) {
      result.emplace_back(change.path, change.key_class);
    }
    return result;
  };
  using Classes = std::vector<std::pair<std::string, KeyClass>>;
  EXPECT_EQ(classes({}), Classes{});
  EXPECT_EQ(classes({"run.seed=2"}), (Classes{{"run.seed", KeyClass::kIdentity}}));
  EXPECT_EQ(classes({"model.dropout=0.5"}), (Classes{{"model.dropout", KeyClass::kIdentity}}));
  EXPECT_EQ(classes({"optimizer.learning_rate=0.5"}),
            (Classes{{"optimizer.learning_rate", KeyClass::kTrajectory}}));
  EXPECT_EQ(classes({"data.root=elsewhere"}), (Classes{{"data.root", KeyClass::kFree}}));
  EXPECT_EQ(classes({"train.epochs=4"}), (Classes{{"train.epochs", KeyClass::kTrajectory}}));
  EXPECT_EQ(classes({"train.epochs=~", "train.steps=9"}), (Classes{{"train.steps", KeyClass::kTrajectory}}));
  EXPECT_EQ(classes({"optimizer.learning_rate=1e-3"}), Classes{});  // another way to write the default
}

TEST(ConfigChanges, WhatIsLeftOpenNowIsNoChange) {
  const Config before =
      parse(kSmall).with("batch", "lanes", 64).with("batch", "window", 16).with("model", "width", 3);
  EXPECT_TRUE(config_changes(before, parse(kSmall)).empty());
  const auto changes = config_changes(before, parse(kSmall, {"batch.window=8"}));
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].before, 16);
  EXPECT_EQ(changes[0].after, 8);
}

TEST(ConfigChanges, AnotherModelShowsAllItsOptions) {
  const auto changes = config_changes(parse(kSmall), parse(kSmall, {"model.name=linear"}));
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].path, "model.bias");
  EXPECT_EQ(changes[1].path, "model.name");
}

/// A random value of an option's type, so that all of them go through the file.
Json random_value(const Option& option, RandomStream& stream) {
  const auto text = [&]() -> std::string {
    constexpr const char* kTexts[] = {"",   "a", "null", "1e3",       "true", "a: b",
                                      "#x", "ä", "~",    "two words", "-"};
    return option.choices.empty() ? kTexts[stream.below(std::size(kTexts))]
                                  : option.choices[stream.below(option.choices.size())];
  };
  switch (option.type) {
    case OptionType::kBoolean:
      return stream.below(2) == 0;
    case OptionType::kInteger:
      return static_cast<std::int64_t>(stream.below(100)) - 50;
    case OptionType::kUnsigned:
      return stream() >> stream.below(63);
    case OptionType::kNumber:
      return stream.normal() * 1e-3;
    case OptionType::kBytes:
      return stream() >> 20;
    case OptionType::kText:
      return text();
    case OptionType::kIntegerList:
      return {1, -2};
    case OptionType::kNumberList:
      return {stream.uniform(), 1.0};
    case OptionType::kTextList:
      return {text(), text()};
  }
  return nullptr;
}

// RUN/config.yaml is read back by whoever starts from it. Read option by option: random values break the
// rules between keys.
TEST(ResolvedConfig, ReadsBackToTheSameValues) {
  RandomStream stream(21);
  int open = 0;
  for (int round = 0; round < 30; ++round) {
    Json values = parse(kSmall).values();
    const auto fill = [&](const std::string& section, const Option& option) {
      const bool leave_open = option.fallback.is_null() && stream.below(3) == 0;
      open += leave_open ? 1 : 0;
      values[section][option.name] = leave_open ? Json(nullptr) : random_value(option, stream);
    };
    for (const ConfigKey& key : config_keys()) fill(key.section, key.option);
    for (const Option& option : kModels[0].options) fill("model", option);

    const YamlNode document = YamlNode::parse(to_yaml(values), "config.yaml");
    for (const ConfigKey& key : config_keys()) {
      EXPECT_EQ(canonical(read_option(key.option, document.require(key.section).require(key.option.name))),
                canonical(values[key.section][key.option.name]))
          << key.path();
    }
    for (const Option& option : kModels[0].options) {
      EXPECT_EQ(read_option(option, document.require("model").require(option.name)),
                values["model"][option.name]);
    }
  }
  EXPECT_GT(open, 30);
}

TEST(ResolvedConfig, IsAConfig) {
  const Config config = parse(kSmall, {"data.features=[a, \"1\"]", "train.epochs=~", "train.steps=5"});
  for (const Config& resolved : {config, config.with("batch", "lanes", 64).with("schedule", "horizon", 5)}) {
    const Config back = parse(to_yaml(resolved.values()));
    EXPECT_EQ(canonical(back.values()), canonical(resolved.values()));
    EXPECT_TRUE(config_changes(resolved, back).empty());
  }
}

}  // namespace
}  // namespace muster
