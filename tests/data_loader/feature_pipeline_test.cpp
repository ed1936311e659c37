// What the fitted pipeline makes of rows, and which rows and fields it refuses.
#include "tests/data_loader/feature_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test
using Kind = TensorSpec::Kind;

TEST(FeaturePipeline, MakesTheTensorsOfAContract) {
  const Contract contract = contract_of(kCards);
  const FeaturePipeline pipeline = fit_to(contract, cards(), 4);
  const std::vector<TensorSpec> tensors = {{"features", Kind::kFloat32, {4}, {}},
                                           {"image", Kind::kFloat32, {2, 2}, {}},
                                           {"label", Kind::kInt64, {}, {}}};
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

TEST(FeaturePipeline, ALabelCanBeAnArrayAlone) {
  for (const bool floats : {true, false}) {
    const std::string dtype = floats ? "float32" : "int32";
    const Contract contract =
        contract_of("  x: {dtype: float32}\n  y: {dtype: " + dtype + ", shape: [1, 2], role: label}\n");
    const Columns columns = {column_of<float>({1, 2}),
                             floats ? column_of<float>({1, 2, 4, 5}) : column_of<std::int32_t>({1, 2, 4, 5})};
    const FeaturePipeline pipeline = fit_to(contract, columns, 2);
    const TensorSpec label{"label", floats ? Kind::kFloat32 : Kind::kInt64, {1, 2}, {}};
    EXPECT_EQ(pipeline.tensors().back(), label);
    EXPECT_EQ(pipeline.label_scale().mean, 3);  // over all values of all rows
    EXPECT_EQ(pipeline.label_scale().deviation, std::sqrt(2.5));
  }
  const Contract two = contract_of(
      "  x: {dtype: float32}\n  y: {dtype: float32, shape: [2], role: label}\n"
      "  z: {dtype: float32, role: label}\n");
  const Columns columns = {column_of<float>({1, 2}), column_of<float>({1, 2, 4, 5}),
                           column_of<float>({1, 2})};
  expect_error(error_of([&] { fit_to(two, columns, 2); }), ErrorCode::kConfig, "'y' is an array");
  for (const std::string name : {"y", "z"}) {
    const std::vector<std::string> chosen{name};
    const auto fields = FeaturePipeline::select(two, {});
    EXPECT_EQ(FeaturePipeline::to_summarize(two, fields, chosen).size(), 2U);
    const FeaturePipeline pipeline = FeaturePipeline::fit(two, fields, std::vector<FieldSummary>(2), chosen);
    EXPECT_EQ(pipeline.tensors().back().values_per_row(), name == "y" ? 2U : 1U);
  }
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
  if (field.transform[0].name == "standardize") {
    const double deviation = std::sqrt(statistics.variance());
    return deviation == 0 ? 0 : (value - statistics.mean) / deviation;
  }
  if (field.transform[0].name == "none") return value;
  return visit(field.dtype,
               [&]<typename T>(T*) { return value / static_cast<double>(std::numeric_limits<T>::max()); });
}

void expect_value(const Field& field, const FieldStatistics& statistics, double value, const float* out) {
  if (field.missing == Missing::kIndicator) {
    EXPECT_EQ(out[1], std::isnan(value) ? 1.0F : 0.0F);
  }
  const double want = by_definition(field, statistics, std::isnan(value) ? statistics.mean : value);
  EXPECT_NEAR(out[0], want, 1e-6 * (1 + std::abs(want)));
}

TEST(FeaturePipeline, EveryTypeAndTransformGivesWhatItsDefinitionSays) {
  RandomStream random(7);
  Edges edges;
  for (int i = 0; i < testing::case_count() / 4; ++i) {
    SCOPED_TRACE(i);
    const Contract contract = contract_of(random_fields(random, edges));
    const std::size_t rows = 1 + random.below(150);
    Columns columns;
    for (const Field& field : contract.fields()) columns.push_back(random_column(field, rows, random));
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
          for (std::size_t k = 0; k < width; ++k) {
            const std::size_t place = r * width + k;
            const double got = is_float(field.dtype) ? batch.floats(tensor)[place]
                                                     : static_cast<double>(batch.integers(tensor)[place]);
            EXPECT_EQ(got, is_float(field.dtype) ? static_cast<float>(value(k)) : value(k));
          }
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
  expect_error(error_of([] { (void)contract_of("  x: {dtype: float32, transform: scale}\n"); }),
               ErrorCode::kConfig, "'x'");
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
      {"  a: {dtype: float32}\n  y: {dtype: float32, shape: [20], role: label}\n",
       {column_of<float>({1, 2, 3}), wide[0]},
       {column_of<float>({1, 2, 3}), column_of(hole)},
       1,
       1},
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

}  // namespace
}  // namespace muster
