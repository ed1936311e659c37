#include "data_loader/dataset/validate.h"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <set>

#include "core/file_system.h"
#include "core/random.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/manifest/index_sidecar.h"
#include "dataset_fixture.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

class ValidateTest : public ::testing::Test, public DatasetFixture {};

TEST_F(ValidateTest, ReportsRowsSplitsAndLabels) {
  write_contract(kByTime);
  std::map<std::string, std::uint64_t> rows;
  std::map<std::string, std::uint64_t> positives;
  std::uint64_t total = 0;
  int part = 0;
  for (const std::uint64_t size : {100U, 37U, 0U, 0U, 63U}) {
    const Columns columns = make_columns(size, total);
    for (std::uint64_t row = 0; row < size; ++row) {
      const auto time = get<std::int64_t>(columns, kTime, row);
      const std::string split =
          time < 50 ? "train" : (time >= 60 && time < 120 ? "validation" : (time >= 130 ? "test" : ""));
      ++rows[split];
      positives[split] += get<std::uint8_t>(columns, kLabel, row);
    }
    write_partition(fmt::format("part-{}.h5", part++), columns, size);
    total += size;
  }
  const ValidateReport report = validate(options());
  ASSERT_TRUE(report.faults.empty()) << report.faults[0].what();
  EXPECT_EQ(report.rows, 200U);
  EXPECT_EQ(report.rows_in_no_split, rows[""]);
  EXPECT_EQ(report.bytes, 200U * kRowBytes);
  ASSERT_EQ(report.splits.size(), 3U);
  for (const SplitSummary& split : report.splits) {
    EXPECT_EQ(split.rows, rows[split.name]) << split.name;
    EXPECT_GT(split.rows, 0U);
    EXPECT_EQ(split.label_counts.at("1"), positives[split.name]);
    EXPECT_EQ(split.label_counts.at("0"), rows[split.name] - positives[split.name]);
  }
  const Json json = report.to_json();
  EXPECT_EQ(json["splits"]["test"]["rows"], rows["test"]);
  EXPECT_EQ(json["fingerprint"], report.manifest.fingerprint().hex());
  EXPECT_EQ(json["partitions"], 5);
  EXPECT_TRUE(report.warnings.empty()) << "empty partitions are no twins";
  EXPECT_EQ(json["fault_count"], 0);
}

TEST_F(ValidateTest, WhatItWritesIsWhatDatasetOpens) {
  write_contract(kByTime);
  std::vector<Columns> parts;
  for (std::uint64_t p = 0; p < 3; ++p) {
    parts.push_back(make_columns(50 + p, p * 50));
    write_partition(fmt::format("part-{}.h5", p), parts.back(), 50 + p);
  }
  ValidateOptions settings = options();
  settings.block_rows = 20;
  validate(settings);
  const Dataset dataset = Dataset::open(directory());
  EXPECT_EQ(dataset.manifest().rows(), 153U);
  EXPECT_EQ(dataset.row_index().blocks().size(), 9U);
  const auto reader = dataset.make_reader();
  for (std::uint32_t b = 0; b < 9; ++b) {
    const Block& block = reader->blocks()[b];
    for (std::size_t f = 0; f < dataset.contract().fields().size(); ++f) {
      const std::size_t row_bytes = dataset.contract().fields()[f].bytes_per_row();
      std::vector<std::byte> read(block.rows * row_bytes);
      reader->read(b, f, read);
      EXPECT_EQ(std::memcmp(read.data(), parts[block.partition][f].data() + block.first_row * row_bytes,
                            read.size()),
                0);
    }
    for (const std::uint32_t row : dataset.row_index().rows_of(0, b)) {
      EXPECT_LT(get<std::int64_t>(parts[block.partition], kTime, block.first_row + row), 50);
    }
  }
}

TEST_F(ValidateTest, HashesAreTheDocumentedOnes) {
  write_contract(kByTime);
  const Columns columns = make_columns(50, 0);
  write_partition("part.h5", columns, 50);
  ValidateOptions settings = options();
  settings.block_rows = 32;
  const ValidateReport report = validate(settings);
  const Contract contract = Contract::load(directory() / "contract.yaml");
  std::vector<std::string> names;
  for (const Field& field : contract.fields()) names.push_back(field.name);
  std::sort(names.begin(), names.end());
  Sha256Hasher content;
  std::vector<Sha256> hashes;
  for (const auto& [first, rows] : {std::pair(0U, 32U), std::pair(32U, 18U)}) {
    Sha256Hasher block;
    for (const std::string& name : names) {
      const auto f = static_cast<std::size_t>(contract.find(name) - contract.fields().data());
      const std::size_t row_bytes = contract.fields()[f].bytes_per_row();
      hashes.push_back(sha256(std::span(columns[f]).subspan(first * row_bytes, rows * row_bytes)));
      block.update(std::as_bytes(std::span(hashes.back().bytes)));
    }
    const Sha256 hash = block.finish();
    content.update(std::as_bytes(std::span(hash.bytes)));
  }
  EXPECT_EQ(report.manifest.partitions[0].content, content.finish());
  const auto files = make_posix_file_system();
  const IndexSidecar sidecar = IndexSidecar::deserialize(files->read(directory() / "index.bin"), "index.bin");
  EXPECT_EQ(sidecar.fields, names);
  EXPECT_EQ(sidecar.partitions[0].blocks, hashes);
  EXPECT_EQ(sidecar.fingerprint, report.manifest.fingerprint());
}

TEST_F(ValidateTest, ThreadsAndCodecDoNotChangeWhatIsWritten) {
  write_contract(kByFraction);
  const auto build = [&](Codec codec, unsigned threads) {
    for (std::uint64_t p = 0; p < 7; ++p) {
      write_partition(fmt::format("part-{}.h5", p), make_columns(40 + p, p * 100), 40 + p, codec);
    }
    ValidateOptions settings = options();
    settings.threads = threads;
    settings.block_rows = 16;
    const ValidateReport report = validate(settings);
    EXPECT_TRUE(report.faults.empty());
    EXPECT_EQ(report.rows_in_no_split, 0U) << "the shares add up to 1";
    return read_text("manifest.json") + read_text("rows.bin");
  };
  const std::string one = build(Codec::kNone, 1);
  EXPECT_EQ(build(Codec::kNone, 4), one);
  EXPECT_EQ(build(Codec::kGzip, 3), one);
}

TEST_F(ValidateTest, BlockRowsComeFromTheWidestFieldsChunk) {
  write_contract(kByFraction);
  write_partition("a.h5", make_columns(500, 0), 500, Codec::kNone, 64);
  write_partition("b.h5", make_columns(500, 0), 500, Codec::kNone, 128);
  write_partition("c.h5", make_columns(500, 1), 500, Codec::kNone, 4);  // too few to be a block
  const ValidateReport report = validate(options());
  EXPECT_EQ(report.manifest.partitions[0].block_rows, 64U);
  EXPECT_EQ(report.manifest.partitions[1].block_rows, 128U);
  EXPECT_EQ(report.manifest.partitions[2].block_rows, choose_block_rows(1500, kRowBytes));
}

// ---- faults ----

/// Damages columns or the file, and says what the fault must name.
struct Injection {
  const char* name;
  std::function<std::string(Columns&, std::uint64_t row)> change;  // gives the dataset
  bool names_row = true;
};

std::vector<Injection> injections() {
  const float nan = std::nanf("");
  return {
      {"NaN where forbidden",
       [=](Columns& c, std::uint64_t r) { return set<float>(c, kAmount, r, nan), "amount"; }},
      {"infinity",
       [](Columns& c, std::uint64_t r) { return set<double>(c, kScore, r, HUGE_VAL), "deep/score"; }},
      {"below the range",
       [](Columns& c, std::uint64_t r) { return set<float>(c, kAmount, r, -0.5F), "amount"; }},
      {"above the range",
       [](Columns& c, std::uint64_t r) { return set<float>(c, kAmount, r, 100.5F), "amount"; }},
      {"value not allowed",
       [](Columns& c, std::uint64_t r) { return set<std::int16_t>(c, kKind, r, 4), "kind"; }},
      {"byte of an array",
       [](Columns& c, std::uint64_t r) { return set<std::uint8_t>(c, kPixels, 6 * r + 5, 201), "pixels"; }},
      {"NaN in an array",
       [=](Columns& c, std::uint64_t r) { return set<float>(c, kVector, 3 * r, nan), "vector"; }},
      {"label", [](Columns& c, std::uint64_t r) { return set<std::uint8_t>(c, kLabel, r, 2), "label"; }},
  };
}

TEST_F(ValidateTest, OneBadValueAnywhereIsRefusedByFileDatasetAndRow) {
  write_contract(kByTime);
  RandomStream random(random_key(11, Purpose::kGenerate, {}));
  std::map<std::string, int> hits;
  const auto kinds = injections();
  for (int i = 0; i < 64; ++i) {
    const Injection& kind = kinds[static_cast<std::size_t>(i) % kinds.size()];
    clear_partitions();
    const std::uint64_t parts = 1 + random.below(3);
    const std::uint64_t bad_part = random.below(parts);
    std::string expected;
    ValidateOptions settings = options();
    settings.block_rows = static_cast<std::uint32_t>(1 + random.below(30));
    settings.threads = static_cast<unsigned>(1 + random.below(3));
    for (std::uint64_t p = 0; p < parts; ++p) {
      const std::uint64_t rows = 1 + random.below(60);
      Columns columns = make_columns(rows, p * 60);
      const std::string name = fmt::format("part-{}.h5", p);
      if (p == bad_part) {
        const std::uint64_t row = random.below(3) == 0 ? rows - 1 : random.below(rows);
        expected = fmt::format("{}:{}[{}]", (directory() / name).string(), kind.change(columns, row), row);
        ++hits[kind.name];
        if (row == rows - 1) ++hits["last row"];
        if (row >= settings.block_rows) ++hits["a later block"];
        if (p > 0) ++hits["a later partition"];
      }
      write_partition(name, columns, rows, random.below(2) == 0 ? Codec::kNone : Codec::kGzip);
    }
    const ValidateReport report = validate(settings);
    ASSERT_EQ(report.fault_count, 1U)
        << kind.name << ": " << (report.faults.empty() ? "" : report.faults[0].what());
    EXPECT_EQ(report.faults[0].where(), expected) << kind.name;
    EXPECT_EQ(report.faults[0].code(), ErrorCode::kData);
    EXPECT_FALSE(fs::exists(directory() / "manifest.json"));
  }
  for (const Injection& kind : kinds) EXPECT_GT(hits[kind.name], 0) << kind.name;
  for (const char* edge : {"last row", "a later block", "a later partition"})
    EXPECT_GT(hits[edge], 0) << edge;
  for (const auto& [edge, count] : hits) printf("%s: %d times\n", edge.c_str(), count);
}

TEST_F(ValidateTest, OtherTypesShapesAndFieldsAreFaultsOfTheirDataset) {
  write_contract(kByTime);
  const auto with = [&](const std::function<void(std::vector<Field>&, Columns&)>& change,
                        const std::string& dataset) {
    clear_partitions();
    write_partition("a.h5", make_columns(20, 0), 20);
    std::vector<Field> fields = contract().fields();
    Columns columns = make_columns(20, 20);
    change(fields, columns);
    write_file("b.h5", fields, columns, 20);
    const ValidateReport report = validate(options());
    ASSERT_EQ(report.fault_count, 1U) << dataset;
    EXPECT_EQ(report.faults[0].where().rfind((directory() / "b.h5").string(), 0), 0U)
        << report.faults[0].what();
    EXPECT_NE(std::string(report.faults[0].what()).find(dataset), std::string::npos)
        << report.faults[0].what();
  };
  with([](auto& fields,
          auto& columns) { fields.erase(fields.begin() + kKind), columns.erase(columns.begin() + kKind); },
       "kind");
  with([](auto& fields, auto&) { fields[kKind].dtype = DType::kUInt16; }, "kind");
  with([](auto& fields, auto&) { fields[kPixels].shape = {3, 2}; }, "pixels");
  with([](auto& fields, auto&) { fields[kPixels].shape = {6}; }, "pixels");
}

TEST_F(ValidateTest, AFieldWithOtherRowsIsTheOneNamed) {
  write("contract.yaml",
        "version: 1\nfields: {a: {dtype: float64}, b: {dtype: float64}, c: {dtype: float64}}\n"
        "splits: {by: fraction, train: 1}\n");
  const hid_t file = H5Fcreate((directory() / "p.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  for (const auto& [name, rows] : {std::pair<const char*, hsize_t>("a", 9), {"b", 10}, {"c", 10}}) {
    const std::vector<double> values(rows, 1.0);
    const hid_t space = H5Screate_simple(1, &rows, nullptr);
    const hid_t dataset =
        H5Dcreate2(file, name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(dataset);
    H5Sclose(space);
  }
  H5Fclose(file);
  const ValidateReport report = validate(options());
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_EQ(std::string(report.faults[0].what()),
            (directory() / "p.h5").string() + ":a: has 9 rows, other fields have 10");
}

TEST_F(ValidateTest, FilesThatAreNoPartitionsAreFaultsWithAndWithoutProbe) {
  write_contract(kByTime);
  for (const fs::path& probe : {fs::path(), fs::path(MUSTER_PROBE)}) {
    clear_partitions();
    write_partition("a.h5", make_columns(20, 0), 20);
    write_partition("cut.h5", make_columns(400, 0), 400);
    fs::resize_file(directory() / "cut.h5", fs::file_size(directory() / "cut.h5") / 2);
    write("html.h5", "<!DOCTYPE html><html><body>404</body></html>");
    write("lfs.hdf5", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
    write("none.h5", "");
    write(".hidden.h5", "not looked at");
    fs::create_directory(directory() / "folder.h5");
    ValidateOptions settings = options();
    settings.probe = probe;
    const ValidateReport report = validate(settings);
    std::set<std::string> named;
    for (const Error& fault : report.faults)
      named.insert(fault.where().substr(0, fault.where().find(".h") + 3));
    std::set<std::string> expected;
    for (const char* name : {"cut.h5", "html.h5", "lfs.hd", "none.h5"})
      expected.insert((directory() / name).string());
    EXPECT_EQ(named, expected);
    EXPECT_FALSE(fs::exists(directory() / "manifest.json"));
  }
}

TEST_F(ValidateTest, AFileThatCannotBeReadIsStorageThatFailed) {
  write_contract(kByTime);
  write_partition("a.h5", make_columns(20, 0), 20);
  fs::create_symlink("nowhere", directory() / "gone.h5");
  try {
    static_cast<void>(validate(options()));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
    EXPECT_EQ(error.where(), (directory() / "gone.h5").string());
  }
}

TEST_F(ValidateTest, FaultsAreAllCountedSomeShownAndNothingWritten) {
  write_contract(kByTime);
  write_partition("a.h5", make_columns(20, 0), 20);
  write_partition("b.h5", make_columns(50, 20), 50);
  ASSERT_TRUE(validate(options()).faults.empty());
  const std::string before = read_text("manifest.json") + read_text("rows.bin") + read_text("index.bin");
  Columns bad = make_columns(50, 20);
  for (std::uint64_t row = 0; row < 50; ++row) set<float>(bad, kAmount, row, -1.0F);
  set<std::uint8_t>(bad, kLabel, 7, 9);
  write_partition("b.h5", bad, 50);
  ValidateOptions settings = options();
  settings.max_faults = 3;
  const ValidateReport report = validate(settings);
  EXPECT_EQ(report.faults.size(), 3U);
  EXPECT_EQ(report.fault_count, 51U);
  EXPECT_EQ(report.faults_by_field, (std::map<std::string, std::uint64_t>{{"amount", 50}, {"label", 1}}));
  EXPECT_TRUE(logged("amount: 50 values break the contract"));
  EXPECT_TRUE(logged("label: 1 value breaks the contract"));
  EXPECT_TRUE(report.to_json()["fingerprint"].is_null());
  EXPECT_EQ(read_text("manifest.json") + read_text("rows.bin") + read_text("index.bin"), before);
}

TEST_F(ValidateTest, WhatConcernsTheWholeIsOneError) {
  const auto fails = [&](ErrorCode code, const std::string& part) {
    try {
      static_cast<void>(validate(options()));
      ADD_FAILURE() << "accepted: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  fails(ErrorCode::kConfig, "has no contract.yaml");
  write_contract(kByTime);
  fails(ErrorCode::kData, "has no partition");
  write_partition("a.h5", make_columns(0, 0), 0);
  fails(ErrorCode::kData, "has no rows");
  ValidateOptions nowhere = options();
  nowhere.directory = directory() / "absent";
  EXPECT_THROW(validate(nowhere), Error);
}

TEST_F(ValidateTest, WarnsOfAPartitionThatIsNotThereAnyMore) {
  write_contract(kByFraction);
  write_partition("a.h5", make_columns(40, 0), 40);
  write_partition("b.h5", make_columns(30, 100), 30);
  EXPECT_TRUE(validate(options()).warnings.empty());
  fs::remove(directory() / "b.h5");
  const ValidateReport report = validate(options());
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_EQ(report.warnings[0], "b.h5 with 30 rows was in the last manifest and is not there any more");
  EXPECT_TRUE(validate(options()).warnings.empty());  // said once: the manifest is another now
}

TEST_F(ValidateTest, WarnsOfTwinsEmptySplitsAndUnknownDatasets) {
  write_contract("splits: {by: time, field: when, train: {until: 1000}, test: {from: 1000}}\n");
  std::vector<Field> fields = contract().fields();
  fields.push_back(fields[kAmount]);
  fields.back().name = fields.back().path = "extra";
  Columns columns = make_columns(30, 0);
  columns.push_back(columns[kAmount]);
  for (const char* name : {"a.h5", "b.h5"}) write_file(name, fields, columns, 30);
  const ValidateReport report = validate(options());
  ASSERT_TRUE(report.faults.empty());
  ASSERT_EQ(report.warnings.size(), 3U);
  EXPECT_TRUE(logged("a.h5:extra: is no field of the contract"));
  EXPECT_TRUE(logged("the split 'test' has no rows"));
  EXPECT_TRUE(logged("a.h5 and b.h5 have the same content"));
}

}  // namespace
}  // namespace muster
