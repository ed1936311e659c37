// Faults of contracts: each is one line, at its place.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/data_loader/contract_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

struct Fault {
  std::string name;
  std::string text;
  std::string where;  // line and column
  std::string part;   // of the message
};

std::vector<Fault> faults() {
  return {
      {"Empty", "", "", "is empty"},
      {"NoVersion", "fields: {x: {dtype: int8}}\n", "1:1", "'version' is missing"},
      {"NewVersion", "version: 2\n", "1:1", "version 2 is unknown"},
      {"NoFields", "version: 1\nfields:\nsplits: {}\n", "2:1", "at least one field"},
      {"NoSplits", "version: 1\nfields: {x: {dtype: int8}}\n", "1:1", "'splits' is missing"},
      {"UnknownKey", "version: 1\nfeilds: {}\nfields: {x: {dtype: int8}}\nsplits: {by: fraction, train: 1}\n",
       "2:1", "unknown key 'feilds' (did you mean 'fields'?)"},
      {"FieldNotMap", with_field("float32"), "3:3", "needs at least a dtype"},
      {"FieldName", "version: 1\nfields: {a.b: {dtype: int8}}\n", "2:10", "cannot name a field"},
      {"NoDtype", with_field("{unit: m}"), "3:3", "'dtype' is missing"},
      {"Dtype", with_field("{dtype: flaot32}"), "3:7", "no dtype 'flaot32' (did you mean 'float32'?)"},
      {"Role", with_field("{dtype: int8, role: labell}"), "3:20", "no role 'labell' (did you mean 'label'?)"},
      {"FieldKey", with_field("{dtype: int8, rang: [0, 1]}"), "3:20",
       "unknown key 'rang' (did you mean 'range'?)"},
      {"RangeSize", with_field("{dtype: int8, range: [0]}"), "3:20", "[least, greatest]"},
      {"RangeEmpty", with_field("{dtype: int8, range: [2, 1]}"), "3:20", "nothing lies in the range [2, 1]"},
      {"RangeText", with_field("{dtype: int8, range: [a, 1]}"), "3:28", "a number was expected, found 'a'"},
      {"RangeInfinite", with_field("{dtype: float32, range: [0, .inf]}"), "3:34", "null"},
      {"RangeFraction", with_field("{dtype: int8, range: [0.5, 1]}"), "3:28", "0.5 is no int8"},
      {"RangeTooBig", with_field("{dtype: uint8, range: [0, 256]}"), "3:32", "256 does not fit in uint8"},
      {"RangeFloat", with_field("{dtype: float32, range: [0, 1e39]}"), "3:34", "does not fit in float32"},
      {"RangeInexact", with_field("{dtype: int64, range: [0, 9007199254740994]}"), "3:32", "2^53"},
      {"AllowedEmpty", with_field("{dtype: int8, allowed: []}"), "3:20", "names no value"},
      {"AllowedTwice", with_field("{dtype: int8, allowed: [1, 2, 1]}"), "3:20", "1 is given twice"},
      {"AllowedRange", with_field("{dtype: int8, range: [0, 1], allowed: [1, 2]}"), "3:48",
       "outside the field's range"},
      {"AllowedFits", with_field("{dtype: int8, allowed: [200]}"), "3:30", "200 does not fit in int8"},
      {"ShapeZero", with_field("{dtype: int8, shape: [0]}"), "3:28", "at least 1"},
      {"ShapeNegative", with_field("{dtype: int8, shape: [-1]}"), "3:28", "at least 0"},
      {"ShapeHuge", with_field("{dtype: int8, shape: [4294967296, 4294967296]}"), "3:28", "at most 1.0 GiB"},
      {"PathEmpty", with_field("{dtype: int8, path: /}"), "3:20", "no path"},
      {"MissingWord", with_field("{dtype: float32, missing: imputed}"), "3:23", "did you mean 'impute'?"},
      {"MissingInteger", with_field("{dtype: int8, missing: indicator}"), "3:20", "int8 has no NaN"},
      {"MissingArray", with_field("{dtype: float32, shape: [2], missing: indicator}"), "3:35", "has a shape"},
      {"MissingLabel", with_field("{dtype: float32, role: label, missing: indicator}"), "3:36",
       "only features"},
      {"ImputeAlone", with_field("{dtype: float32, impute: mean}"), "3:23", "goes with `missing: impute`"},
      {"ImputeWord", with_field("{dtype: float32, missing: impute, impute: average}"), "3:40",
       "imputation 'average'"},
      {"ImputeText", with_field("{dtype: string, length: 4, missing: impute, impute: mean}"), "3:50",
       "texts have no mean"},
      {"ImputeFits", with_field("{dtype: int8, missing: impute, missing_value: -1, impute: {value: 999}}"),
       "3:65", "does not fit in int8"},
      {"MissingValueAlone", with_field("{dtype: int8, missing_value: -1}"), "3:20", "goes with"},
      {"MaxMissing", with_field("{dtype: float32, missing: drop, max_missing: 2}"), "3:38", "a share"},
      {"TextLength", with_field("{dtype: string}"), "3:3", "needs `length`"},
      {"TextLengthRange", with_field("{dtype: string, length: 0}"), "3:22", "1 to 65536"},
      {"NumberLength", with_field("{dtype: int8, length: 3}"), "3:20", "only texts"},
      {"TextShape", with_field("{dtype: string, length: 3, shape: [2]}"), "3:33", "no shape"},
      {"TextRange", with_field("{dtype: string, length: 3, range: [0, 1]}"), "3:33", "no range"},
      {"TextLong", with_field("{dtype: string, length: 2, allowed: [abc]}"), "3:43", "longer than 2"},
      {"TextTwice", with_field("{dtype: string, length: 2, allowed: [a, b, a]}"), "3:33", "given twice"},
      {"TextLabel", with_field("{dtype: string, length: 2, role: label}"), "3:3", "feature or a key"},
      {"TextScaled", with_field("{dtype: string, length: 2, transform: standardize}"), "3:33", "for numbers"},
      {"WindowShape", with_field("{dtype: uint8, shape: [3], window: {length: 2}}"), "3:33",
       "leave `shape` out"},
      {"WindowFloat", with_field("{dtype: float32, window: {length: 2}}"), "3:23", "integers, not float32"},
      {"WindowText", with_field("{dtype: string, length: 3, window: {length: 2}}"), "3:33", "integers"},
      {"WindowLabel", with_field("{dtype: uint8, role: label, window: {length: 2}}"), "3:34",
       "only a feature"},
      {"WindowLength", with_field("{dtype: uint8, window: {stride: 2}}"), "3:21", "'length' is missing"},
      {"WindowNoLength", with_field("{dtype: uint8, window: {length: 0}}"), "3:30", "at least 1 token"},
      {"WindowHuge", with_field("{dtype: int64, window: {length: 134217728}}"), "3:30", "at most 1.0 GiB"},
      {"WindowNoStride", with_field("{dtype: uint8, window: {length: 4, stride: 0}}"), "3:41", "1 to 5"},
      {"WindowStride", with_field("{dtype: uint8, window: {length: 4, stride: 6}}"), "3:41", "1 to 5"},
      {"WindowKey", with_field("{dtype: uint8, window: {length: 4, strid: 2}}"), "3:41",
       "unknown key 'strid' (did you mean 'stride'?)"},
      {"WindowMissing", with_field("{dtype: uint8, window: {length: 4}, missing: drop, missing_value: 0}"),
       "3:42", "has a shape"},
      {"WindowsOverlap", with_windows(8, 4, "{by: fraction, train: 0.8, test: 0.1}"), "4:10",
       "windows of 'x' overlap"},
      {"WindowsNoGap", with_windows(8, 3, "{by: order, train: 0.8, test: 0.1}"), "4:10",
       "`gap_rows: 2` or more"},
      {"WindowsSmallGap", with_windows(8, 3, "{by: order, gap_rows: 1, train: 0.8, test: 0.1}"), "4:21",
       "`gap_rows: 2` or more"},
      {"TokensOfOne", with_field("{dtype: uint8, transform: tokens}"), "3:21",
       "windows and arrays of integers"},
      {"TokensOfFloats", with_field("{dtype: float32, shape: [3], transform: tokens}"), "3:35",
       "windows and arrays of integers"},
      {"UniqueFloat", with_field("{dtype: float32, unique: true}"), "3:23", "can be unique"},
      {"TransformEmpty", with_field("{dtype: float32, transform: []}"), "3:23", "names no transform"},
      {"TransformRaw", with_field("{dtype: int8, transform: [{clip: {low: 0}}, category]}"), "3:50",
       "nothing can come before it"},
      {"TransformScale", with_field("{dtype: int8, transform: [log1p, scale]}"), "3:39",
       "nothing can come before it"},
      {"TransformFitted", with_field("{dtype: int8, transform: [standardize, log1p]}"), "3:32",
       "can only be the last"},
      {"TransformTwo", with_field("{dtype: float32, transform: {log1p: {}, none: {}}}"), "3:23",
       "one transform"},
      {"Transform", with_field("{dtype: float32, transform: standardise}"), "3:23",
       "did you mean 'standardize'?"},
      {"TransformLabel", with_field("{dtype: float32, role: label, transform: none}"), "3:36",
       "only features and times"},
      {"TimeShape", with_field("{dtype: int64, role: time, shape: [2]}"), "3:3", "one number per row"},
      {"WeightShape", with_field("{dtype: float32, role: weight, shape: [2]}"), "3:3", "one number per row"},
      {"TimeFloat32", with_field("{dtype: float32, role: time}"), "3:3", "float32 counts seconds"},
      {"WeightNegative", with_field("{dtype: float32, role: weight, range: [-1, 1]}"), "3:45",
       "cannot be negative"},
      {"WeightRange", with_field("{dtype: float32, role: weight, range: [null, -1]}"), "3:37",
       "nothing lies in"},
      {"TensorName", "version: 1\nfields: {features: {dtype: float32, shape: [2]}}\n", "2:10",
       "rename the field"},
      {"TwoTimes", "version: 1\nfields: {x: {dtype: int8, role: time}, y: {dtype: int8, role: time}}\n",
       "2:40", "'x' and 'y' have the same role"},
      {"StratifiedByWhich", with_labels("{by: fraction, stratified: true, train: 1}"), "3:24",
       "there are 2 labels: `label: a`"},
      {"StratifiedByNone", with_labels("{by: fraction, stratified: true, label: c, train: 1}"), "3:42",
       "no field 'c'"},
      {"StratifiedByFeature", with_labels("{by: fraction, stratified: true, label: x, train: 1}"), "3:42",
       "'x' must have `role: label`"},
      {"StratifiedByArray",
       "version: 1\nfields: {x: {dtype: int8}, y: {dtype: int8, shape: [2], allowed: [0, 1], role: label}}\n"
       "splits: {by: fraction, stratified: true, train: 1}\n",
       "3:24", "one number per row"},
      {"StratifiedLabelAlone", with_labels("{by: fraction, label: a, train: 1}"), "3:24",
       "goes with `stratified: true`"},
      {"KnownAtUnknown", with_known("x: {dtype: int8, known_at: now}"), "4:20",
       "no field 'now' (did you mean 'know'?)"},
      {"KnownAtEmpty", with_known("x: {dtype: int8, known_at: ''}"), "4:20", "names no field"},
      {"KnownAtShape", with_known("x: {dtype: int8, known_at: many}"), "4:20", "'many' is no time"},
      {"KnownAtText", with_known("x: {dtype: int8, known_at: word}"), "4:20", "'word' is no time"},
      {"KnownAtFloat32", with_known("x: {dtype: int8, known_at: short}"), "4:20", "'short' is no time"},
      {"KnownAtUnit", with_known("x: {dtype: int8, known_at: days}"), "4:20",
       "'days' is in 'd' and the time 't' in 's'"},
      {"KnownAtRole", with_known("x: {dtype: int8, role: key, known_at: know}"), "4:31", "only of a feature"},
      {"KnownAtNoTime",
       "version: 1\nfields: {x: {dtype: int8, known_at: k}, k: {dtype: int64}}\nsplits: {by: order, train: "
       "1}\n",
       "2:27", "no field with `role: time`"},
      {"SamePath", "version: 1\nfields: {x: {dtype: int8}, y: {dtype: int8, path: /x}}\n", "2:28",
       "'x' and 'y' both read the dataset 'x'"},
      {"NeverUnknown", "version: 1\nfields: {colour: {dtype: int8}}\nnever_features: [color]\n", "3:18",
       "no field 'color' (did you mean 'colour'?)"},
      {"NeverTwice", "version: 1\nfields: {x: {dtype: int8}}\nnever_features: [x, x]\n", "3:21",
       "given twice"},
      {"SplitBy", with_splits("  by: kye\n"), "6:3",
       "no way to split 'kye' (did you mean 'key'?); known: time, fraction, order, key"},
      {"KeyField", with_splits("  by: key\n  train: 0.5\n"), "5:1", "'field' is missing"},
      {"KeyRole", with_splits("  by: key\n  field: x\n  train: 0.5\n"), "7:3", "'x' must have `role: key`"},
      {"KeyFloat",
       "version: 1\nfields: {k: {dtype: float64, role: key}}\nsplits: {by: key, field: k, train: 1}\n",
       "3:19", "must be an integer"},
      {"KeyShares", "version: 1\nfields: {k: {dtype: int8, role: key}}\nsplits: {by: key, field: k}\n", "3:1",
       "names no split"},
      {"SplitKey", with_splits("  by: fraction\n  tran: 0.5\n"), "7:3",
       "unknown key 'tran' (did you mean 'train'?)"},
      {"SplitNone", with_splits("  by: fraction\n"), "5:1", "names no split"},
      {"ShareSum", with_splits("  by: fraction\n  train: 0.8\n  test: 0.3\n"), "8:3", "more than 1"},
      {"ShareZero", with_splits("  by: fraction\n  train: 0\n"), "7:3", "a share must lie in (0, 1]"},
      {"ShareNegative", with_splits("  by: fraction\n  train: -0.1\n"), "7:3", "a share must lie in (0, 1]"},
      {"TimeField", with_splits("  by: time\n  field: tt\n  train: {}\n"), "7:3", "no field 'tt'"},
      {"TimeRole", with_splits("  by: time\n  field: x\n  train: {}\n"), "7:3", "'x' must have `role: time`"},
      {"GapNegative", with_splits("  by: time\n  field: t\n  gap_seconds: -1\n  train: {}\n"), "8:3",
       "negative"},
      {"Backwards", with_splits("  by: time\n  field: t\n  train: {from: 5, until: 5}\n"), "8:3",
       "ends before it starts"},
      {"BoundText", with_splits("  by: time\n  field: t\n  train: {from: soon}\n"), "8:11", "a time like"},
      {"IntervalKey", with_splits("  by: time\n  field: t\n  train: {untill: 5}\n"), "8:11",
       "did you mean 'until'?"},
      {"Overlap", with_splits("  by: time\n  field: t\n  train: {until: 10}\n  test: {from: 9}\n"), "9:3",
       "'train' and 'test' overlap"},
      {"OpenOverlap", with_splits("  by: time\n  field: t\n  train: {from: 0}\n  test: {from: 9}\n"), "9:3",
       "overlap"},
      {"BothOpen", with_splits("  by: time\n  field: t\n  train: {until: 3}\n  test: {until: 9}\n"), "9:3",
       "overlap"},
      {"Gap",
       with_splits("  by: time\n  field: t\n  gap_seconds: 5\n  train: {until: 10}\n  test: {from: 14}\n"),
       "10:3", "'test' starts 4 after 'train' ends; gap_seconds asks for at least 5"},
      {"GapBackwards",
       with_splits("  by: time\n  field: t\n  gap_seconds: 5\n  train: {from: 14}\n  test: {until: 10}\n"),
       "9:3", "'train' starts 4 after 'test' ends"},
  };
}

void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.text; }  // NOLINT: GoogleTest's name

class ContractFault : public ::testing::TestWithParam<Fault> {};

TEST_P(ContractFault, IsOneLineAtItsPlace) {
  const Fault& fault = GetParam();
  try {
    static_cast<void>(parse(fault.text));
    FAIL() << "accepted:\n" << fault.text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_EQ(error.where().rfind("contract.yaml", 0), 0U) << error.what();
    if (!fault.where.empty()) {
      EXPECT_EQ(error.where(), "contract.yaml:" + fault.where) << error.what();
    }
    EXPECT_NE(error.message().find(fault.part), std::string::npos) << error.what();
    EXPECT_EQ(error.message().find('\n'), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(All, ContractFault, ::testing::ValuesIn(faults()),
                         [](const ::testing::TestParamInfo<Fault>& test) { return test.param.name; });

}  // namespace
}  // namespace muster
