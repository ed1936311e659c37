#include "data_loader/contract.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/random.h"

namespace muster {
namespace {

Contract parse(const std::string& text) { return Contract::parse(YamlNode::parse(text, "contract.yaml")); }

constexpr const char* kFull = R"(version: 1
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

TEST(ContractTest, ReadsEveryKeyAndFillsInDefaults) {
  const Contract contract = parse(kFull);
  ASSERT_EQ(contract.fields().size(), 8U);
  const Field& amount = contract.field("amount");
  EXPECT_EQ(amount.path, "amount");
  EXPECT_EQ(amount.unit, "EUR");
  EXPECT_EQ(amount.minimum, 0.0);
  EXPECT_FALSE(amount.maximum);
  EXPECT_EQ(amount.missing, Missing::kIndicator);
  ASSERT_EQ(amount.transform.size(), 1U);
  EXPECT_EQ(amount.transform[0].name, "standardize");
  const Field& pixels = contract.field("pixels");
  EXPECT_EQ(pixels.path, "images/data");
  EXPECT_EQ(pixels.transform.at(0).name, "scale");
  EXPECT_EQ(pixels.bytes_per_row(), 784U);
  EXPECT_EQ(contract.field("embedding").transform.at(0).name, "standardize");
  EXPECT_EQ(contract.field("embedding").bytes_per_row(), 128U);
  EXPECT_EQ(contract.field("kind").allowed, (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(contract.only(Role::kLabel)->name, "fraud");
  EXPECT_TRUE(contract.only(Role::kLabel)->transform.empty());
  EXPECT_EQ(contract.only(Role::kWeight)->minimum, 0.0) << "a weight is never negative";
  EXPECT_EQ(contract.never_features(), std::vector<std::string>{"kind"});
  EXPECT_EQ(contract.split_names(), (std::vector<std::string>{"train", "validation", "test"}));
  const auto& splits = std::get<TimeSplit>(contract.splits());
  EXPECT_EQ(splits.gap, 3600);
  EXPECT_FALSE(splits.intervals[0].from);
  EXPECT_EQ(splits.intervals[1].from, splits.intervals[0].until.value() + 3600);
}

TEST(ContractTest, ArraysOtherThanBytesAreNotTransformedByDefault) {
  const Contract contract =
      parse("version: 1\nfields:\n  tokens: {dtype: uint16, shape: [8]}\nsplits: {by: fraction, train: 1}\n");
  EXPECT_EQ(contract.field("tokens").transform.at(0).name, "none");
}

TEST(ContractTest, HashIgnoresCommentsOrderOfKeysAndSpelledOutDefaults) {
  const Contract plain = parse(
      "version: 1\nfields: {a: {dtype: float32}, b: {dtype: int8}}\nsplits: {by: fraction, train: 0.5}\n");
  const Contract other = parse(
      "# a comment\nsplits: {train: 0.5, by: fraction, seed: 0}\nnever_features: []\n"
      "fields: {a: {role: feature, transform: standardize, missing: forbid, path: a, dtype: float32, shape: "
      "[]},"
      " b: {dtype: int8, range: [null, null]}}\nversion: 1\n");
  EXPECT_EQ(plain.hash(), other.hash());
  const Contract swapped = parse(
      "version: 1\nfields: {b: {dtype: int8}, a: {dtype: float32}}\nsplits: {by: fraction, train: 0.5}\n");
  EXPECT_NE(plain.hash(), swapped.hash()) << "the order of fields is the order of features";
}

TEST(ContractTest, UnknownFieldNamesTheNearest) {
  try {
    static_cast<void>(parse(kFull).field("amuont"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_NE(error.message().find("did you mean 'amount'"), std::string::npos) << error.what();
  }
}

// ---- faults: each is one line, at its place ----

struct Fault {
  std::string name;
  std::string text;
  std::string where;  // line and column
  std::string part;   // of the message
};

std::string with_field(const std::string& field) {
  return "version: 1\nfields:\n  x: " + field + "\nsplits: {by: fraction, train: 1}\n";
}

std::string with_windows(int length, int stride, const std::string& splits) {
  return fmt::format(
      "version: 1\nfields:\n  x: {{dtype: uint8, window: {{length: {}, stride: {}}}}}\nsplits: {}\n", length,
      stride, splits);
}

std::string with_splits(const std::string& splits) {
  return "version: 1\nfields:\n  t: {dtype: int64, role: time}\n  x: {dtype: int32}\nsplits:\n" + splits;
}

std::string with_labels(const std::string& splits) {
  return "version: 1\nfields: {x: {dtype: int8}, a: {dtype: bool, role: label}, b: {dtype: bool, role: "
         "label}}\nsplits: " +
         splits + "\n";
}

std::string with_known(const std::string& field) {
  return "version: 1\nfields:\n  t: {dtype: int64, unit: s, role: time}\n  " + field +
         "\n  know: {dtype: int64, unit: s}\n  float: {dtype: float64}\n  short: {dtype: float32}\n"
         "  days: {dtype: int32, unit: d}\n  many: {dtype: int64, shape: [2]}\n"
         "  word: {dtype: string, length: 3}\nsplits: {by: order, train: 1}\n";
}

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
      {"LabelShape", with_field("{dtype: int8, role: label, shape: [2]}"), "3:3", "one number per row"},
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

TEST(ContractTest, SeveralLabelsAreThereInOrder) {
  const Contract contract = parse(with_labels("{by: fraction, train: 1}"));
  EXPECT_EQ(contract.labels(), (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(contract.stratified_by(), nullptr);
  const Contract stratified = parse(with_labels("{by: fraction, stratified: true, label: b, train: 1}"));
  ASSERT_NE(stratified.stratified_by(), nullptr);
  EXPECT_EQ(stratified.stratified_by()->name, "b");
  EXPECT_EQ(stratified.to_json().at("splits").at("label"), "b");
  EXPECT_EQ(Contract::from_json(stratified.to_json(), "x").hash(), stratified.hash());
  EXPECT_NE(parse(with_labels("{by: fraction, stratified: true, label: a, train: 1}")).hash(),
            stratified.hash());
  const std::string one = "version: 1\nfields: {a: {dtype: bool, role: label}}\nsplits: ";
  EXPECT_EQ(parse(one + "{by: fraction, stratified: true, label: a, train: 1}\n").hash(),
            parse(one + "{by: fraction, stratified: true, train: 1}\n").hash())
      << "the only label is the default";
}

TEST(ContractTest, KnownAtIsPartOfTheHashWhereGiven) {
  const Contract contract = parse(with_known("x: {dtype: int8, known_at: know}"));
  EXPECT_EQ(contract.field("x").known_at, "know");
  EXPECT_TRUE(contract.field("know").takes_times());
  EXPECT_FALSE(contract.field("days").takes_times());
  EXPECT_EQ(contract.to_json().at("fields")[1].at("known_at"), "know");
  EXPECT_FALSE(contract.to_json().at("fields")[0].contains("known_at"));
  EXPECT_EQ(Contract::from_json(contract.to_json(), "x").hash(), contract.hash());
  EXPECT_NE(parse(with_known("x: {dtype: int8}")).hash(), contract.hash());
  EXPECT_NO_THROW(parse(with_known("x: {dtype: uint8, shape: [2], known_at: float}")));
}

void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.text; }  // NOLINT: GoogleTest's name

TEST(ContractTest, ASplitByKeyReadsBack) {
  const Contract contract = parse(
      "version: 1\nfields: {x: {dtype: int8}, who: {dtype: int64, role: key}}\n"
      "splits: {by: key, field: who, train: 0.8, test: 0.2}\n");
  EXPECT_EQ(contract.to_json().at("splits"),
            Json::parse(R"({"by": "key", "field": "who", "seed": 0, "train": 0.8, "test": 0.2})"));
  EXPECT_EQ(Contract::from_json(contract.to_json(), "x").hash(), contract.hash());
  EXPECT_EQ(parse(contract.to_yaml()).hash(), contract.hash());
  EXPECT_EQ(contract.split_names(), (std::vector<std::string>{"train", "test"}));
}

class ContractFault : public testing::TestWithParam<Fault> {};

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

INSTANTIATE_TEST_SUITE_P(All, ContractFault, testing::ValuesIn(faults()),
                         [](const testing::TestParamInfo<Fault>& test) { return test.param.name; });

TEST(ContractTest, IntervalsThatTouchOrKeepTheGapAreFine) {
  EXPECT_NO_THROW(parse(with_splits("  by: time\n  field: t\n  train: {until: 10}\n  test: {from: 10}\n")));
  EXPECT_NO_THROW(parse(
      with_splits("  by: time\n  field: t\n  gap_seconds: 5\n  train: {until: 10}\n  test: {from: 15}\n")));
  // A distance beyond 64 bits is far enough.
  EXPECT_NO_THROW(
      parse(with_splits("  by: time\n  field: t\n  gap_seconds: 5\n"
                        "  train: {until: -9223372036854775807}\n  test: {from: 9223372036854775807}\n")));
}

TEST(ContractTest, WindowsAreRowsOfLengthAndOneMore) {
  const Contract contract = parse(with_windows(8, 3, "{by: order, gap_rows: 2, train: 0.8, test: 0.1}"));
  const Field& field = contract.field("x");
  EXPECT_EQ(field.shape, std::vector<std::uint64_t>{9});
  EXPECT_EQ(field.window, (TokenWindow{8, 3}));
  EXPECT_EQ(field.transform.at(0).name, "tokens");
  EXPECT_TRUE(field.stored().shape.empty());
  EXPECT_EQ(parse(with_field("{dtype: uint8, window: {length: 8}}")).field("x").window, (TokenWindow{8, 8}));
}

TEST(ContractTest, WindowsReadBackAndAreInTheHash) {
  const std::string splits = "{by: order, gap_rows: 9, train: 0.8, test: 0.1}";
  const Contract contract = parse(with_windows(8, 3, splits));
  EXPECT_EQ(contract.to_json().at("fields")[0].at("window"), Json::parse(R"({"length": 8, "stride": 3})"));
  EXPECT_FALSE(contract.to_json().at("fields")[0].contains("shape"));
  EXPECT_EQ(parse(contract.to_yaml()).hash(), contract.hash());
  EXPECT_EQ(Contract::from_json(contract.to_json(), "x").hash(), contract.hash());
  EXPECT_EQ(parse(contract.to_yaml()).field("x").window, contract.field("x").window);
  EXPECT_NE(parse(with_windows(8, 4, splits)).hash(), contract.hash());
  EXPECT_NE(parse(with_windows(7, 3, splits)).hash(), contract.hash());
}

TEST(ContractTest, SplitsWhoseWindowsShareNoTargetAreFine) {
  const auto fine = [](int length, int stride, const std::string& splits) {
    EXPECT_NO_THROW(parse(with_windows(length, stride, splits))) << length << " " << stride << " " << splits;
  };
  fine(8, 8, "{by: fraction, train: 0.8, test: 0.1}");
  fine(8, 9, "{by: fraction, train: 0.8, test: 0.1}");
  fine(8, 1, "{by: fraction, train: 0.8}");  // one split: nothing to keep apart
  fine(8, 4, "{by: order, gap_rows: 1, train: 0.8, test: 0.1}");
  fine(8, 1, "{by: order, gap_rows: 7, train: 0.8, test: 0.1}");
  // The fewest rows in between, by looking at the targets: tokens first + 1 … first + length.
  for (std::uint64_t length = 1; length <= 9; ++length) {
    for (std::uint64_t stride = 1; stride <= length + 1; ++stride) {
      std::uint64_t gap = 0;
      while ((gap + 1) * stride + 1 <= length) ++gap;
      EXPECT_EQ((TokenWindow{length, stride}.rows_between_strangers()), gap) << length << " " << stride;
    }
  }
}

TEST(ContractTest, WindowsAreWrittenAloneOrWithTheSameWindows) {
  const auto fields = [](const std::string& y) {
    return parse("version: 1\nfields:\n  x: {dtype: uint8, window: {length: 4}}\n  y: " + y +
                 "\nsplits: {by: fraction, train: 1}\n");
  };
  EXPECT_EQ(fields("{dtype: uint16, window: {length: 4}}").stored_fields().size(), 2U);
  EXPECT_THROW(fields("{dtype: uint16, window: {length: 4, stride: 3}}").stored_fields(), Error);
  EXPECT_THROW(fields("{dtype: int8, role: label}").stored_fields(), Error);
}

// ---- round trips ----

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
