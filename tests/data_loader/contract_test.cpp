#include "data_loader/contract/contract.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/data_loader/contract_cases.h"

namespace muster {
namespace {

using namespace muster::testing;  // NOLINT: the helpers beside this test

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

}  // namespace
}  // namespace muster
