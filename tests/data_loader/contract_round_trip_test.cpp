// Contracts as YAML and JSON and back.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "core/random.h"
#include "tests/data_loader/contract_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

std::string random_number(RandomStream& random) {
  return fmt::format("{}", std::trunc(random.normal() * 50) / (random.below(2) == 0 ? 1 : 7));
}

/// A valid contract with fields of every kind.
std::string random_contract(RandomStream& random) {
  static constexpr std::array<const char*, 6> kUnits = {"m", "",          "a: b", "\\\"q\\\" [x], {y}",
                                                        "~", "°C \\u2713"};
  std::string text = "version: 1\nfields:\n  when: {dtype: int64, role: time}\n";
  const std::uint64_t fields = 1 + random.below(6);
  for (std::uint64_t i = 0; i < fields; ++i) {
    text += fmt::format("  f{}:\n    dtype: {}\n", i, random.below(2) == 0 ? "float64" : "float32");
    text += fmt::format("    unit: \"{}\"\n", kUnits[random.below(kUnits.size())]);
    if (random.below(2) == 0) text += fmt::format("    path: \"group {}/x\"\n", i);
    if (random.below(3) == 0) text += fmt::format("    range: [null, {}]\n", random_number(random));
    switch (random.below(5)) {
      case 0:
        text += "    missing: indicator\n";
        break;
      case 1:
        text +=
            "    missing: impute\n    impute: {value: 1.5}\n    transform: [log1p, {clip: {low: -0.5}}, "
            "{buckets: {count: 9}}]\n";
        break;
      case 2:
        text += "    missing: drop\n    missing_value: -7\n    max_missing: 0.25\n";
        break;
      case 3:
        text += fmt::format("    shape: [{}, 3]\n    role: key\n", 1 + random.below(9));
        break;
      default:
        text += "    transform: none\n";
    }
  }
  if (random.below(2) == 0) text += "never_features: [f0, when]\n";
  if (random.below(2) == 0) {
    return text + fmt::format("splits: {{by: fraction, seed: {}, test: 0.1, train: {}}}\n", random(),
                              random.uniform() * 0.9);
  }
  return text +
         fmt::format(
             "splits: {{by: time, field: when, train: {{until: {}}}, test: {{from: 99, until: null}}}}\n",
             static_cast<std::int64_t>(random.below(100)) - 50);
}

TEST(ContractTest, YamlAndJsonComeBackAsTheSameContract) {
  RandomStream random(random_key(1, Purpose::kGenerate, {}));
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_contract(random);
    const Contract contract = parse(text);
    const Json json = contract.to_json();
    EXPECT_EQ(parse(contract.to_yaml()).to_json(), json) << contract.to_yaml();
    const Contract back = Contract::from_json(parse_json(canonical(json), "x"), "x");
    EXPECT_EQ(back.to_json(), json) << text;
    EXPECT_EQ(back.hash(), contract.hash());
    ASSERT_EQ(back.fields().size(), contract.fields().size());
    for (std::size_t f = 0; f < back.fields().size(); ++f) {
      EXPECT_EQ(back.fields()[f].name, contract.fields()[f].name);
      EXPECT_EQ(back.fields()[f].maximum, contract.fields()[f].maximum);
    }
  }
  EXPECT_EQ(parse(parse(kFull).to_yaml()).hash(), parse(kFull).hash());
}

TEST(ContractTest, DamagedJsonIsAStorageErrorThatSaysWhere) {
  const Json whole = parse(kFull).to_json();
  std::vector<Json> damaged = {Json(), Json::array(), Json("x"), Json::object()};
  for (const auto& [key, _] : whole.items()) {
    Json less = whole;
    less.erase(key);
    if (key != "never_features") damaged.push_back(less);
    less[key] = 7;
    damaged.push_back(less);
  }
  damaged.push_back(whole);
  damaged.back()["fields"][0].erase("dtype");
  damaged.push_back(whole);
  damaged.back()["fields"][0] = 3;
  for (const Json& json : damaged) {
    try {
      static_cast<void>(Contract::from_json(json, "pipeline.json"));
      FAIL() << "accepted: " << json;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStorage) << error.what();
      EXPECT_EQ(error.where(), "pipeline.json");
    }
  }
}

}  // namespace
}  // namespace muster
