#pragma once
// What the tests of the feature pipeline share: contracts with their columns, fitting, and rows into batches.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "data_loader/features/feature_pipeline.h"
#include "tests/data_loader/error_of.h"
#include "tests/data_loader/order_cases.h"
#include "tests/data_loader/random_columns.h"
#include "tests/data_loader/statistics_cases.h"

namespace muster::testing {

using Columns = std::vector<std::vector<std::byte>>;  // per contract field

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline FeaturePipeline fit_to(const Contract& contract, const Columns& columns, std::size_t rows) {
  const auto fields = FeaturePipeline::select(contract, {});
  std::vector<FieldSummary> summaries;
  for (const std::size_t field : FeaturePipeline::to_summarize(contract, fields)) {
    const Field& spec = contract.fields()[field];
    summaries.push_back(FieldSummary::of(spec, needs_of(spec), columns[field], all_rows(rows)));
  }
  return FeaturePipeline::fit(contract, fields, summaries);
}

/// Rows of a block into a batch: row rows[i] of the columns becomes row i.
inline Batch scatter(const FeaturePipeline& pipeline, const Columns& columns,
                     const std::vector<std::uint32_t>& rows) {
  Batch batch(pipeline.tensors(), rows.size(), aligned_allocator());
  batch.set_rows(rows.size());
  std::vector<std::span<const std::byte>> sources;
  for (const std::size_t field : pipeline.source_fields()) sources.emplace_back(columns[field]);
  std::vector<FeaturePipeline::Target> targets;
  for (std::uint32_t i = 0; i < rows.size(); ++i) targets.push_back({rows[i], i, &batch});
  pipeline.scatter(sources, targets);
  return batch;
}

inline void expect_error(const Error& error, ErrorCode code, const std::string& part) {
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
}

inline constexpr const char* kCards =
    "  amount: {dtype: float32}\n"
    "  age: {dtype: int16, missing: forbid}\n"
    "  distance: {dtype: float64, missing: indicator}\n"
    "  fraud: {dtype: uint8, role: label}\n"
    "  customer: {dtype: int64, role: key}\n"
    "  time: {dtype: int64, role: time}\n"
    "  image: {dtype: uint8, shape: [2, 2]}\n"
    "  importance: {dtype: float32, role: weight}\n";

inline Columns cards() {
  return {column_of<float>({1, 3, 5, 7}),
          column_of<std::int16_t>({-4, -4, -4, -4}),
          column_of<double>({10, std::nan(""), 30, std::nan("")}),
          column_of<std::uint8_t>({0, 1, 0, 7}),
          column_of<std::int64_t>({1, 2, 3, 4}),
          column_of<std::int64_t>({1, 2, 3, 4}),
          column_of<std::uint8_t>({0, 51, 102, 255, 1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255}),
          column_of<float>({1, 0.5F, 0, 4})};
}

inline std::string random_fields(RandomStream& random, Edges& edges) {
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
  const bool array = random.below(2) == 0;
  if (label < 10)
    text += fmt::format("  y: {{dtype: {}, role: label{}}}\n", kTypes[label], array ? ", shape: [3, 2]" : "");
  edges.hit("no label", label >= 10);
  edges.hit("label of floats is an array", array && (label == 8 || label == 9));
  edges.hit("label of integers is an array", array && label < 8);
  return text;
}

}  // namespace muster::testing
