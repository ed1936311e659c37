#pragma once
// What the tests of contracts parse.

#include <string>

#include "core/text.h"
#include "data_loader/contract/contract.h"

namespace muster::testing {

inline Contract parse(const std::string& text) {
  return Contract::parse(YamlNode::parse(text, "contract.yaml"));
}

inline constexpr const char* kFull = R"(version: 1
fields:
  amount: {dtype: float32, unit: EUR, range: [0, null], missing: indicator}
  pixels: {path: /images/data, dtype: uint8, shape: [28, 28]}
  embedding: {dtype: float64, shape: [16], transform: standardize}
  kind: {dtype: int8, allowed: [3, 1, 2]}
  fraud: {dtype: uint8, allowed: [0, 1], role: label}
  when: {dtype: int64, role: time}
  id: {dtype: uint64, role: key}
  importance: {dtype: float32, role: weight}
never_features: [kind]
splits:
  by: time
  field: when
  gap_seconds: 3600
  train: {until: 2026-03-01}
  validation: {from: 2026-03-01T01:00:00, until: 2026-04-01}
  test: {from: 2026-04-02}
)";

inline std::string with_field(const std::string& field) {
  return "version: 1\nfields:\n  x: " + field + "\nsplits: {by: fraction, train: 1}\n";
}

inline std::string with_windows(int length, int stride, const std::string& splits) {
  return fmt::format(
      "version: 1\nfields:\n  x: {{dtype: uint8, window: {{length: {}, stride: {}}}}}\nsplits: {}\n", length,
      stride, splits);
}

inline std::string with_splits(const std::string& splits) {
  return "version: 1\nfields:\n  t: {dtype: int64, role: time}\n  x: {dtype: int32}\nsplits:\n" + splits;
}

inline std::string with_labels(const std::string& splits) {
  return "version: 1\nfields: {x: {dtype: int8}, a: {dtype: bool, role: label}, b: {dtype: bool, role: "
         "label}}\nsplits: " +
         splits + "\n";
}

inline std::string with_known(const std::string& field) {
  return "version: 1\nfields:\n  t: {dtype: int64, unit: s, role: time}\n  " + field +
         "\n  know: {dtype: int64, unit: s}\n  float: {dtype: float64}\n  short: {dtype: float32}\n"
         "  days: {dtype: int32, unit: d}\n  many: {dtype: int64, shape: [2]}\n"
         "  word: {dtype: string, length: 3}\nsplits: {by: order, train: 1}\n";
}

}  // namespace muster::testing
