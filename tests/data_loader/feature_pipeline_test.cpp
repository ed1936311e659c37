#include "data_loader/feature_pipeline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/data_loader/order_cases.h"
#include "tests/data_loader/random_columns.h"

namespace muster {
namespace {

using testing::column_of;
using testing::contract_of;
using Kind = TensorSpec::Kind;
using Columns = std::vector<std::vector<std::byte>>;  // per contract field

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<std::uint32_t> all_rows(std::size_t rows) {
  std::vector<std::uint32_t> numbers(rows);
  std::iota(numbers.begin(), numbers.end(), 0U);
  return numbers;
}

FeaturePipeline fit_to(const Contract& contract, const Columns& columns, std::size_t rows) {
  const auto fields = FeaturePipeline::select(contract, {});
  std::vector<FieldStatistics> statistics;
  for (const std::size_t field : fields) {
    const Field& spec = contract.fields()[field];
    statistics.push_back(
        FieldStatistics::of(spec.dtype, columns[field], spec.values_per_row(), all_rows(rows)));
  }
  return FeaturePipeline::fit(contract, fields, statistics);
}

/// Rows of a block into a batch: row rows[i] of the columns becomes row i.
Batch scatter(const FeaturePipeline& pipeline, const Columns& columns,
              const std::vector<std::uint32_t>& rows) {
  Batch batch(pipeline.tensors(), rows.size(), aligned_allocator());
  batch.set_rows(rows.size());
  std::vector<std::span<const std::byte>> sources;
  for (const std::size_t field : pipeline.source_fields()) sources.push_back(columns[field]);
  std::vector<FeaturePipeline::Target> targets;
  for (std::uint32_t i = 0; i < rows.size(); ++i) targets.push_back({rows[i], i, &batch});
  pipeline.scatter(sources, targets);
  return batch;
}

template <typename Body>
Error error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kBug, "nothing was thrown");
}

void expect_error(const Error& error, ErrorCode code, const std::string& part) {
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
}

const char* const kCards =
    "  amount: {dtype: float32}\n"
    "  age: {dtype: int16, missing: forbid}\n"
    "  distance: {dtype: float64, missing: indicator}\n"
    "  fraud: {dtype: uint8, role: label}\n"
    "  customer: {dtype: int64, role: key}\n"
    "  time: {dtype: int64, role: time}\n"
    "  image: {dtype: uint8, shape: [2, 2]}\n"
    "  importance: {dtype: float32, role: weight}\n";

Columns cards() {
  return {column_of<float>({1, 3, 5, 7}),
          column_of<std::int16_t>({-4, -4, -4, -4}),
          column_of<double>({10, std::nan(""), 30, std::nan("")}),
          column_of<std::uint8_t>({0, 1, 0, 7}),
          column_of<std::int64_t>({1, 2, 3, 4}),
          column_of<std::int64_t>({1, 2, 3, 4}),
          column_of<std::uint8_t>({0, 51, 102, 255, 1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255}),
          column_of<float>({1, 0.5F, 0, 4})};
}

TEST(FeaturePipeline, MakesTheTensorsOfAContract) {
  const Contract contract = contract_of(kCards);
  const FeaturePipeline pipeline = fit_to(contract, cards(), 4);
  const std::vector<TensorSpec> tensors = {
      {"features", Kind::kFloat32, {4}}, {"image", Kind::kFloat32, {2, 2}}, {"label", Kind::kInt64, {}}};
  EXPECT_EQ(pipeline.tensors(), tensors);
  EXPECT_EQ(pipeline.feature_names(),
            (std::vector<std::string>{"amount", "age", "distance", "distance.missing"}));
  EXPECT_EQ(pipeline.source_fields(), (std::vector<std::size_t>{0, 1, 2, 6, 3, 7}));  // no key, no time
}

TEST(FeaturePipeline, TransformsImputesAndMarks) {
  const Contract contract = contract_of(kCards);
  Batch batch = scatter(fit_to(contract, cards(), 4), cards(), {1, 0, 2});
  const float deviation = std::sqrt(5.0F);  // of 1 3 5 7
  const float want[] = {-1 / deviation, 0, 0, 1, -3 / deviation, 0, -1, 0, 1 / deviation, 0, 1, 0};
  for (int i = 0; i < 12; ++i) EXPECT_FLOAT_EQ(batch.floats(0)[i], want[i]) << i;
  const float image[] = {1 / 255.0F, 2 / 255.0F, 3 / 255.0F, 4 / 255.0F, 0, 0.2F, 0.4F, 1};
  for (int i = 0; i < 8; ++i) EXPECT_FLOAT_EQ(batch.floats(1)[i], image[i]) << i;
  EXPECT_EQ(batch.floats(1)[7], 1.0F);
  const std::int64_t labels[] = {1, 0, 0};
  const float weights[] = {0.5F, 1, 0};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(batch.integers(2)[i], labels[i]);
    EXPECT_EQ(batch.weights()[i], weights[i]);
  }
}

TEST(FeaturePipeline, WithoutWeightFieldEveryRowWeighsOne) {
  const Contract contract = contract_of("  x: {dtype: float32}\n  y: {dtype: float64, role: label}\n");
  const Columns columns = {column_of<float>({1, 2}), column_of<double>({0.25, -4})};
  Batch batch = scatter(fit_to(contract, columns, 2), columns, {0, 1});
  EXPECT_EQ(batch.weights()[0], 1.0F);
  EXPECT_EQ(batch.weights()[1], 1.0F);
  EXPECT_EQ(batch.specs()[1].kind, Kind::kFloat32);
  EXPECT_EQ(batch.floats(1)[0], 0.25F);
  EXPECT_EQ(batch.floats(1)[1], -4.0F);
}

TEST(FeaturePipeline, AFieldThatVariesByRoundingOnlyIsNotBlownUp) {
  const Contract contract = contract_of("  x: {dtype: float64}\n");
  const Columns columns = {column_of<double>({0.1, 0.1, 0.1})};
  ASSERT_GT(FieldStatistics::of(DType::kFloat64, columns[0], 1, all_rows(3)).m2, 0)
      << "no rounding to speak of";
  Batch batch = scatter(fit_to(contract, columns, 3), columns, {1});
  EXPECT_EQ(batch.floats(0)[0], 0.0F);
}

TEST(FeaturePipeline, AFieldThatIsAlwaysMissingBecomesZeroAndMarked) {
  const Contract contract = contract_of("  x: {dtype: float32, missing: indicator}\n");
  const Columns columns = {column_of<float>({kNan, kNan})};
  Batch batch = scatter(fit_to(contract, columns, 2), columns, {0, 1});
  EXPECT_EQ(batch.floats(0)[0], 0.0F);
  EXPECT_EQ(batch.floats(0)[1], 1.0F);
}

/// What a value becomes by the definition of its transform.
double by_definition(const Field& field, const FieldStatistics& statistics, double value) {
  if (field.transform == "standardize") {
    const double deviation = std::sqrt(statistics.variance());
    return deviation == 0 ? 0 : (value - statistics.mean) / deviation;
  }
  if (field.transform == "none") return value;
  return visit(field.dtype,
               [&]<typename T>(T*) { return value / static_cast<double>(std::numeric_limits<T>::max()); });
}

std::string random_fields(RandomStream& random, testing::Edges& edges) {
  constexpr const char* kTypes[] = {"int8",   "int16",  "int32",  "int64",   "uint8",
                                    "uint16", "uint32", "uint64", "float32", "float64"};
  std::string text;
  const std::uint64_t count = 1 + random.below(6);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t type = random.below(10);
    const bool array = random.below(3) == 0;
    const std::uint64_t way = random.below(type < 8 ? 3 : 2);
    constexpr const char* kWays[] = {"standardize", "none", "scale"};
    const bool missing = type >= 8 && !array && random.below(2) == 0;
    text += fmt::format("  f{}: {{dtype: {}, transform: {}{}{}}}\n", i, kTypes[type], kWays[way],
                        array ? fmt::format(", shape: [{}, 17]", 1 + random.below(3)) : "",
                        missing ? ", missing: indicator" : "");
    edges.hit(std::string(kTypes[type]) + " " + kWays[way], true);
    edges.hit("array", array);
    edges.hit("indicator", missing);
  }
  const std::uint64_t label = random.below(12);
  if (label < 10) text += fmt::format("  y: {{dtype: {}, role: label}}\n", kTypes[label]);
  edges.hit("no label", label >= 10);
  return text;
}

void expect_value(const Field& field, const FieldStatistics& statistics, double value, const float* out) {
  if (field.missing == Missing::kIndicator) {
    EXPECT_EQ(out[1], std::isnan(value) ? 1.0F : 0.0F);
  }
  const double want = std::isnan(value) ? 0 : by_definition(field, statistics, value);
  EXPECT_NEAR(out[0], want, 1e-6 * (1 + std::abs(want)));
}

TEST(FeaturePipeline, EveryTypeAndTransformGivesWhatItsDefinitionSays) {
  RandomStream random(7);
  testing::Edges edges;
  for (int i = 0; i < testing::case_count() / 4; ++i) {
    SCOPED_TRACE(i);
    const Contract contract = contract_of(random_fields(random, edges));
    const std::size_t rows = 1 + random.below(150);
    Columns columns;
    for (const Field& field : contract.fields())
      columns.push_back(testing::random_column(field, rows, random));
    const FeaturePipeline pipeline = fit_to(contract, columns, rows);
    std::vector<std::uint32_t> picked = all_rows(rows);
    shuffle(std::span(picked), random());
    picked.resize(1 + random.below(rows));
    Batch batch = scatter(pipeline, columns, picked);
    edges.hit("several tiles", picked.size() > 64);

    for (std::size_t r = 0; r < picked.size(); ++r) {
      std::size_t feature = r * pipeline.feature_names().size();
      for (std::size_t f = 0; f < contract.fields().size(); ++f) {
        const Field& field = contract.fields()[f];
        const std::size_t width = field.values_per_row();
        const auto value = [&](std::size_t k) {
          return testing::value_at(field, columns[f], picked[r] * width + k);
        };
        if (field.role == Role::kLabel) {
          const auto tensor = static_cast<std::size_t>(batch.find("label"));
          const double got = is_float(field.dtype) ? batch.floats(tensor)[r]
                                                   : static_cast<double>(batch.integers(tensor)[r]);
          EXPECT_EQ(got, is_float(field.dtype) ? static_cast<float>(value(0)) : value(0));
          continue;
        }
        const auto statistics = FieldStatistics::of(field.dtype, columns[f], width, all_rows(rows));
        if (field.shape.empty()) {
          expect_value(field, statistics, value(0), batch.floats(0) + feature);
          feature += field.missing == Missing::kIndicator ? 2 : 1;
          continue;
        }
        const float* out = batch.floats(static_cast<std::size_t>(batch.find(field.name))) + r * width;
        for (std::size_t k = 0; k < width; ++k) expect_value(field, statistics, value(k), out + k);
      }
    }
  }
  edges.expect_all_hit();
}

TEST(FeaturePipeline, SelectsFeaturesByRoleOrByName) {
  const Contract contract = contract_of(kCards, "never_features: [age]\n");
  using Fields = std::vector<std::size_t>;
  using Names = std::vector<std::string>;
  const auto select = [&](const Names& names) { return FeaturePipeline::select(contract, names); };
  EXPECT_EQ(select({}), (Fields{0, 2, 6}));
  EXPECT_EQ(select({"image", "amount"}), (Fields{0, 6}));
  expect_error(error_of([&] { select({"amuont"}); }), ErrorCode::kConfig, "'amount'");
  expect_error(error_of([&] { select({"age"}); }), ErrorCode::kConfig, "never_features");
  for (const char* name : {"fraud", "customer", "time", "importance"}) {
    expect_error(error_of([&] { select({"amount", name}); }), ErrorCode::kConfig, name);
  }
  expect_error(error_of([&] { select({"amount", "amount"}); }), ErrorCode::kConfig, "twice");
  const Contract none = contract_of("  y: {dtype: int8, role: label}\n");
  expect_error(error_of([&] { FeaturePipeline::select(none, {}); }), ErrorCode::kConfig,
               "no field with role feature");
}

TEST(FeaturePipeline, RefusesStatisticsThatAreNotFinite) {
  const Contract contract = contract_of("  x: {dtype: float32}\n  y: {dtype: float64}\n");
  const float infinity = std::numeric_limits<float>::infinity();
  Columns columns = {column_of<float>({1, infinity}), column_of<double>({1, 2})};
  expect_error(error_of([&] { fit_to(contract, columns, 2); }), ErrorCode::kData, "'x'");
  columns = {column_of<float>({1, 2}), column_of<double>({1e200, 2})};
  expect_error(error_of([&] { fit_to(contract, columns, 2); }), ErrorCode::kData, "'y'");
}

TEST(FeaturePipeline, ScaleIsForIntegers) {
  const Contract contract = contract_of("  x: {dtype: float32, transform: scale}\n");
  expect_error(error_of([&] { fit_to(contract, {column_of<float>({1})}, 1); }), ErrorCode::kConfig, "'x'");
}

struct BadCase {
  const char* fields;
  Columns good;
  Columns bad;
  std::size_t field;
  std::uint32_t row;
};

TEST(FeaturePipeline, NamesTheRowOfAValueThatIsForbidden) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Columns ones = {column_of<float>({1, 2, 3}), column_of<float>({1, 2, 3})};
  const auto second = [](std::vector<std::byte> column) {
    return Columns{column_of<float>({1, 2, 3}), std::move(column)};
  };
  const Columns wide = {column_of<float>(std::vector<float>(60, 1))};
  std::vector<float> hole(60, 1);
  hole[20 + 19] = kNan;
  const BadCase cases[] = {
      {"  a: {dtype: float32}\n  x: {dtype: float32}\n", ones, second(column_of<float>({1, kNan, 3})), 1, 1},
      {"  a: {dtype: float32}\n  x: {dtype: float32, missing: indicator}\n", ones,
       second(column_of<float>({kNan, 2, -infinity})), 1, 2},
      {"  a: {dtype: float32}\n  x: {dtype: float64, transform: none}\n",
       second(column_of<double>({1, 2, 3})), second(column_of<double>({1, 2, 1e200})), 1, 2},
      {"  x: {dtype: float32}\n  n: {dtype: int8}\n",
       {column_of<float>({1, 2, 3}), column_of<std::int8_t>({1, 2, 3})},
       {column_of<float>({1, 2, kNan}), column_of<std::int8_t>({1, 2, 3})},
       0,
       2},
      {"  x: {dtype: float32, shape: [20]}\n", wide, {column_of(hole)}, 0, 1},
      {"  a: {dtype: float32}\n  y: {dtype: float32, role: label}\n", ones,
       second(column_of<float>({kNan, 2, 3})), 1, 0},
      {"  a: {dtype: float32}\n  y: {dtype: uint64, role: label}\n",
       second(column_of<std::uint64_t>({0, 1, 2})),
       second(column_of<std::uint64_t>({0, ~std::uint64_t{0}, 2})), 1, 1},
      {"  a: {dtype: float32}\n  w: {dtype: float32, role: weight}\n", ones,
       second(column_of<float>({0, 2, -0.5F})), 1, 2},
      {"  a: {dtype: float32}\n  w: {dtype: float32, role: weight}\n", ones,
       second(column_of<float>({0, kNan, 1})), 1, 1},
      {"  a: {dtype: float32}\n  w: {dtype: float32, role: weight}\n", ones,
       second(column_of<float>({infinity, 2, 1})), 1, 0},
  };
  for (const BadCase& c : cases) {
    SCOPED_TRACE(c.fields);
    const Contract contract = contract_of(c.fields);
    const FeaturePipeline pipeline = fit_to(contract, c.good, 3);
    EXPECT_NO_THROW(scatter(pipeline, c.good, {0, 1, 2}));
    try {
      scatter(pipeline, c.bad, {0, 1, 2});
      ADD_FAILURE() << "the bad value was not noticed";
    } catch (const BadValue& bad) {
      EXPECT_EQ(bad.code(), ErrorCode::kData);
      EXPECT_EQ(bad.field, c.field);
      EXPECT_EQ(bad.row_in_block, c.row);
      EXPECT_NE(bad.message().find("'" + contract.fields()[c.field].name + "'"), std::string::npos)
          << bad.what();
    }
  }
}

TEST(FeaturePipeline, GoesThroughJsonWithTheSameBits) {
  RandomStream random(8);
  testing::Edges edges;
  for (int i = 0; i < 50; ++i) {
    SCOPED_TRACE(i);
    const Contract contract = contract_of(random_fields(random, edges));
    Columns columns;
    for (const Field& field : contract.fields()) columns.push_back(testing::random_column(field, 40, random));
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
    expect_error(error_of([&] { load(contract); }), ErrorCode::kConfig, part);
    expect_error(error_of([&] { load(contract); }), ErrorCode::kConfig, "pipeline.json: ");
  }
  const Json plain = fit_to(contract_of("  x: {dtype: int8}\n"), {column_of<std::int8_t>({1})}, 1).to_json();
  const Contract labelled = contract_of("  x: {dtype: int8}\n  y: {dtype: int8, role: label}\n");
  expect_error(error_of([&] { (void)FeaturePipeline::from_json(labelled, plain, "p"); }), ErrorCode::kConfig,
               "'y'");
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
  for (const char* key : {"field", "dtype", "shape", "missing", "transform", "fitted", "statistics"}) {
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
  json["inputs"][0]["transform"] = "standardise";
  expect_error(error_of([&] { load(json); }), ErrorCode::kConfig, "standardize");
  expect_error(error_of([&] { load(Json::array()); }), ErrorCode::kStorage, "format");
}

}  // namespace
}  // namespace muster
