// The pipeline as it stands in a checkpoint: the same bits come back, and nothing else is taken for one.
#include "tests/data_loader/feature_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

TEST(FeaturePipeline, GoesThroughJsonWithTheSameBits) {
  RandomStream random(8);
  Edges edges;
  for (int i = 0; i < 50; ++i) {
    SCOPED_TRACE(i);
    const Contract contract = contract_of(random_fields(random, edges));
    Columns columns;
    for (const Field& field : contract.fields()) columns.push_back(random_column(field, 40, random));
    const FeaturePipeline pipeline = fit_to(contract, columns, 40);
    const std::string text = canonical(pipeline.to_json());
    const FeaturePipeline again =
        FeaturePipeline::from_json(contract, parse_json(text, "pipeline.json"), "pipeline.json");
    EXPECT_EQ(canonical(again.to_json()), text);
    EXPECT_EQ(again.tensors(), pipeline.tensors());
    EXPECT_EQ(again.feature_names(), pipeline.feature_names());
    EXPECT_EQ(again.source_fields(), pipeline.source_fields());
    const Batch first = scatter(pipeline, columns, all_rows(40));
    const Batch second = scatter(again, columns, all_rows(40));
    for (std::size_t tensor = 0; tensor < pipeline.tensors().size(); ++tensor) {
      EXPECT_EQ(std::memcmp(first.data(tensor), second.data(tensor),
                            40 * pipeline.tensors()[tensor].bytes_per_row()),
                0);
    }
  }
}

TEST(FeaturePipeline, RefusesALabelOfAnotherShape) {
  const auto contract = [](const std::string& shape) {
    return contract_of("  x: {dtype: float32}\n  y: {dtype: float32, role: label" + shape + "}\n");
  };
  const Columns columns = {column_of<float>({1, 2}), column_of<float>({1, 2, 4, 5})};
  const Json json = fit_to(contract(", shape: [2]"), columns, 2).to_json();
  const auto load = [&](const std::string& shape) {
    (void)FeaturePipeline::from_json(contract(shape), json, "pipeline.json");
  };
  EXPECT_NO_THROW(load(", shape: [2]"));
  expect_error(error_of([&] { load(", shape: [2, 1]"); }), ErrorCode::kConfig, "'y' is [2]");
  expect_error(error_of([&] { load(""); }), ErrorCode::kConfig, "'y' is [2] in the pipeline and one number");
}

TEST(FeaturePipeline, RefusesAnotherContractAndNamesTheField) {
  const Json json = fit_to(contract_of(kCards), cards(), 4).to_json();
  const auto replaced = [](const std::string& from, const std::string& to) {
    std::string text = kCards;
    text.replace(text.find(from), from.size(), to);
    return contract_of(text);
  };
  const auto load = [&](const Contract& contract) {
    (void)FeaturePipeline::from_json(contract, json, "pipeline.json");
  };
  EXPECT_NO_THROW(load(contract_of(kCards)));
  EXPECT_NO_THROW(load(replaced("amount: {dtype: float32}", "amount: {dtype: float32, path: elsewhere}")));
  const std::pair<Contract, const char*> cases[] = {
      {replaced("amount: {dtype: float32}", "amount: {dtype: float64}"), "'amount' is float32"},
      {replaced("amount:", "amounts:"), "'amount' is there"},
      {replaced("shape: [2, 2]", "shape: [4]"), "'image' is [2,2]"},
      {replaced("shape: [2, 2]", "unit: x"), "'image' is [2,2] in the pipeline and one number"},
      {replaced("{dtype: float64, missing: indicator}", "{dtype: float64}"),
       "'distance' is 'missing: indicator'"},
      {replaced("{dtype: float32}", "{dtype: float32, role: key}"), "'amount' is a feature"},
      {replaced("uint8, role: label", "int8, role: label"), "'fraud' is uint8"},
      {replaced("uint8, role: label", "uint8, role: key"), "'fraud' is label"},
      {replaced("float32, role: weight", "float64, role: weight"), "'importance' is float32"},
  };
  for (const auto& [contract, part] : cases) {
    const Error error = error_of([&, contract = contract] { load(contract); });
    expect_error(error, ErrorCode::kConfig, part);
    expect_error(error, ErrorCode::kConfig, "pipeline.json: ");
  }
  const Json plain = fit_to(contract_of("  x: {dtype: int8}\n"), {column_of<std::int8_t>({1})}, 1).to_json();
  const Contract labelled = contract_of("  x: {dtype: int8}\n  y: {dtype: int8, role: label}\n");
  expect_error(error_of([&] { (void)FeaturePipeline::from_json(labelled, plain, "p"); }), ErrorCode::kConfig,
               "'y'");
}

TEST(FeaturePipeline, ScoresWithoutALabelAndItsWeight) {
  const Contract full = contract_of(kCards);
  const FeaturePipeline trained = fit_to(full, cards(), 4);
  const Contract inputs = contract_of(
      "  image: {dtype: uint8, shape: [2, 2]}\n"
      "  distance: {dtype: float64, missing: indicator}\n"
      "  age: {dtype: int16, missing: forbid}\n"
      "  amount: {dtype: float32}\n");
  const auto scoring = FeaturePipeline::for_scoring(inputs, trained.to_json(), "pipeline.json");
  EXPECT_EQ(scoring.tensors().size() + 1, trained.tensors().size());
  const Columns columns = cards();
  const Batch before = scatter(trained, columns, all_rows(4));
  const Batch after = scatter(scoring, {columns[6], columns[2], columns[1], columns[0]}, all_rows(4));
  for (std::size_t tensor = 0; tensor < scoring.tensors().size(); ++tensor) {
    ASSERT_EQ(scoring.tensors()[tensor], trained.tensors()[tensor]);
    EXPECT_EQ(
        std::memcmp(before.data(tensor), after.data(tensor), 4 * scoring.tensors()[tensor].bytes_per_row()),
        0);
  }
  for (const float weight : after.weights()) EXPECT_EQ(weight, 1);
  const Contract retyped = contract_of("  amount: {dtype: float64}\n");
  expect_error(error_of([&] { (void)FeaturePipeline::for_scoring(retyped, trained.to_json(), "p"); }),
               ErrorCode::kConfig, "'amount' is float32");
  expect_error(error_of([&] {
                 (void)FeaturePipeline::for_scoring(contract_of("  x: {dtype: int8}\n"), trained.to_json(),
                                                    "p");
               }),
               ErrorCode::kConfig, "'amount'");
}

TEST(FeaturePipeline, RefusesMalformedJson) {
  const Contract contract = contract_of(kCards);
  const Json good = fit_to(contract, cards(), 4).to_json();
  const auto load = [&](const Json& json) {
    (void)FeaturePipeline::from_json(contract, json, "pipeline.json");
  };
  for (const char* key : {"format", "inputs", "label", "weight", "tensors"}) {
    Json json = good;
    json.erase(key);
    expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, key);
  }
  for (const char* key : {"field", "dtype", "shape", "missing", "transforms", "fitted", "statistics"}) {
    Json json = good;
    json["inputs"][0].erase(key);
    expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, key);
  }
  Json json = good;
  json["format"] = "muster-pipeline-9";
  expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, "muster-pipeline-9");
  json = good;
  json["tensors"][0]["shape"][0] = 5;
  expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, "tensors");
  json = good;
  json["inputs"][0]["fitted"]["deviation"] = -1;
  expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, "deviation");
  json = good;
  json["inputs"][3]["fitted"]["divisor"] = 0;
  expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, "divisor");
  json = good;
  json["inputs"][0]["transforms"][0]["name"] = "standardise";
  expect_error(error_of([&] { load(json); }), ErrorCode::kConfig, "standardize");
  expect_error(error_of([&] { load(Json::array()); }), ErrorCode::kStorage, "format");
}

constexpr const char* kTwoLabels =
    "  x: {dtype: float32}\n"
    "  heat: {dtype: float64, role: label}\n"
    "  open: {dtype: uint8, allowed: [0, 1], role: label}\n"
    "  count: {dtype: int32, role: label}\n";

Columns two_labels() {
  return {column_of<float>({1, 2, 3, 4}), column_of<double>({10, 20, 30, 40}),
          column_of<std::uint8_t>({0, 1, 1, 0}), column_of<std::int32_t>({-5, 5, -5, 5})};
}

FeaturePipeline fit_labels(const std::vector<std::string>& labels) {
  const Contract contract = contract_of(kTwoLabels);
  const Columns columns = two_labels();
  const auto fields = FeaturePipeline::select(contract, {});
  std::vector<FieldSummary> summaries;
  for (const std::size_t field : FeaturePipeline::to_summarize(contract, fields, labels)) {
    const Field& spec = contract.fields()[field];
    summaries.push_back(FieldSummary::of(spec, needs_of(spec), columns[field], all_rows(4)));
  }
  return FeaturePipeline::fit(contract, fields, summaries, labels);
}

TEST(SeveralLabels, AreColumnsOfOneTensorWithAScaleEach) {
  const FeaturePipeline all = fit_labels({});
  ASSERT_EQ(all.targets().size(), 3U);
  const double means[] = {25, 0.5, 0};
  const double deviations[] = {std::sqrt(125.0), 0.5, 5};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_DOUBLE_EQ(all.targets()[i].scale.mean, means[i]);
    EXPECT_DOUBLE_EQ(all.targets()[i].scale.deviation, deviations[i]);
  }
  Batch batch = scatter(all, two_labels(), {2, 0});
  EXPECT_EQ(batch.specs()[1],
            (TensorSpec{"label", TensorSpec::Kind::kFloat32, {3}, {}}));  // one of them is a float
  const float want[] = {30, 1, -5, 10, 0, -5};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(batch.floats(1)[i], want[i]) << i;

  const FeaturePipeline whole = fit_labels({"count", "open"});
  EXPECT_EQ(whole.targets().front().name, "open") << "in the contract's order";
  Batch integers = scatter(whole, two_labels(), {1, 2});
  EXPECT_EQ(integers.specs()[1], (TensorSpec{"label", TensorSpec::Kind::kInt64, {2}, {}}));
  const std::int64_t numbers[] = {1, 5, 1, -5};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(integers.integers(1)[i], numbers[i]) << i;
}

TEST(SeveralLabels, OneOfThemIsAsIfTheOthersWereNot) {
  const FeaturePipeline one = fit_labels({"count"});
  const Contract alone = contract_of("  x: {dtype: float32}\n  count: {dtype: int32, role: label}\n");
  const Columns columns = {two_labels()[0], two_labels()[3]};
  EXPECT_EQ(canonical(one.to_json()), canonical(fit_to(alone, columns, 4).to_json()));
}

TEST(SeveralLabels, GoThroughJsonAndScoring) {
  const Contract contract = contract_of(kTwoLabels);
  for (const std::vector<std::string>& labels :
       {std::vector<std::string>{}, {"heat"}, {"heat", "count"}, {"open", "count"}}) {
    const FeaturePipeline pipeline = fit_labels(labels);
    const std::string text = canonical(pipeline.to_json());
    const Json json = parse_json(text, "p");
    const FeaturePipeline again = FeaturePipeline::from_json(contract, json, "p");
    EXPECT_EQ(canonical(again.to_json()), text);
    EXPECT_EQ(again.tensors(), pipeline.tensors());
    EXPECT_EQ(again.source_fields(), pipeline.source_fields());
    const auto scoring = FeaturePipeline::for_scoring(contract_of("  x: {dtype: float32}\n"), json, "p");
    ASSERT_EQ(scoring.targets().size(), pipeline.targets().size());
    EXPECT_EQ(scoring.tensors().size(), 1U);
    for (std::size_t i = 0; i < scoring.targets().size(); ++i) {
      EXPECT_EQ(scoring.targets()[i].name, pipeline.targets()[i].name);
      EXPECT_EQ(scoring.targets()[i].scale.deviation, pipeline.targets()[i].scale.deviation);
    }
  }
}

TEST(SeveralLabels, WhatIsNoLabelIsRefusedByName) {
  const auto refuse = [](const std::vector<std::string>& labels, const char* part) {
    const Contract contract = contract_of(kTwoLabels);
    expect_error(error_of([&] { (void)FeaturePipeline::select_labels(contract, labels); }),
                 ErrorCode::kConfig, part);
  };
  refuse({"heta"}, "data.labels: 'heta' is no field with `role: label` (did you mean 'heat'?)");
  refuse({"x"}, "'x' is no field with `role: label`");
  refuse({"heat", "heat"}, "'heat' is named twice");
  const Contract contract = contract_of(kTwoLabels);
  const Json good = fit_labels({}).to_json();
  const auto load = [&](const Json& json) { (void)FeaturePipeline::from_json(contract, json, "p"); };
  Json json = good;
  json["label"].erase(2);
  json["label"].erase(1);
  expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, "fewer than two");
  json = good;
  json["label"][1] = json["label"][0];
  expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, "'heat' twice");
  json = good;
  json["label"][1]["deviation"] = 0;
  expect_error(error_of([&] { load(json); }), ErrorCode::kStorage, "'deviation'");
  json = good;
  json["label"][2]["dtype"] = "int8";
  expect_error(error_of([&] { load(json); }), ErrorCode::kConfig, "'count' is int8");
}

TEST(SeveralLabels, ABadValueNamesItsLabel) {
  const FeaturePipeline pipeline = fit_labels({"heat", "count"});
  Columns bad = two_labels();
  bad[1] = column_of<double>({1, kNan, 3, 4});
  expect_error(error_of([&] { scatter(pipeline, bad, {0, 1}); }), ErrorCode::kData, "the label 'heat'");
}

}  // namespace
}  // namespace muster
