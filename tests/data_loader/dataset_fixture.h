#pragma once
// A small dataset directory with fields of every kind, for tests.

#include <cmath>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "core/random.h"
#include "data_loader/contract/contract.h"
#include "data_loader/dataset/validate.h"
#include "data_loader/reading/partition_file.h"
#include "scratch_directory.h"

namespace muster {

using Columns = std::vector<std::vector<std::byte>>;

// Places of the fields in DatasetFixture's contract.
enum FixtureField : std::size_t { kAmount, kScore, kKind, kPixels, kVector, kTime, kLabel };
constexpr std::uint64_t kRowBytes = 4 + 8 + 2 + 6 + 12 + 8 + 1;

constexpr const char* kByTime =
    "splits: {by: time, field: when, gap_seconds: 10, train: {until: 50}, validation: {from: 60, until: 120},"
    " test: {from: 130}}\n";
constexpr const char* kByFraction =
    "splits: {by: fraction, seed: 3, train: 0.7, validation: 0.2, test: 0.1}\n";

template <typename T>
void set(Columns& columns, std::size_t field, std::uint64_t index, T value) {
  std::memcpy(columns[field].data() + index * sizeof(T), &value, sizeof(T));
}

template <typename T>
T get(const Columns& columns, std::size_t field, std::uint64_t index) {
  T value;
  std::memcpy(&value, columns[field].data() + index * sizeof(T), sizeof(T));
  return value;
}

class DatasetFixture {
 public:
  const std::filesystem::path& directory() const { return directory_.path(); }

  void write(const std::string& name, const std::string& text) {
    testing::write_file(directory_ / name, text);
  }
  std::string read_text(const std::string& name) { return testing::read_file(directory_ / name); }

  void write_contract(const std::string& splits) {
    write("contract.yaml",
          "version: 1\n"
          "fields:\n"
          "  amount: {dtype: float32, range: [0, 100]}\n"
          "  score: {path: deep/score, dtype: float64, missing: indicator}\n"
          "  kind: {dtype: int16, allowed: [1, 2, 3]}\n"
          "  pixels: {dtype: uint8, shape: [2, 3], range: [0, 200]}\n"
          "  vector: {dtype: float32, shape: [3]}\n"
          "  when: {dtype: int64, role: time}\n"
          "  label: {dtype: uint8, allowed: [0, 1], role: label}\n" +
              splits);
  }
  Contract contract() const { return Contract::load(directory_ / "contract.yaml"); }

  /// Rows that keep the contract; times are first_time, first_time + 1, …; a tenth of the scores is missing.
  static Columns make_columns(std::uint64_t rows, std::uint64_t first_time) {
    Columns columns;
    for (const std::size_t bytes : {4, 8, 2, 6, 12, 8, 1}) columns.emplace_back(rows * bytes);
    RandomStream random(random_key(1, Purpose::kGenerate, {rows, first_time}));
    for (std::uint64_t row = 0; row < rows; ++row) {
      set(columns, kAmount, row, static_cast<float>(random.uniform() * 100));
      set(columns, kScore, row, random.below(10) == 0 ? std::nan("") : random.normal());
      set(columns, kKind, row, static_cast<std::int16_t>(1 + random.below(3)));
      for (std::uint64_t i = 0; i < 6; ++i)
        set(columns, kPixels, row * 6 + i, static_cast<std::uint8_t>(random.below(201)));
      for (std::uint64_t i = 0; i < 3; ++i)
        set(columns, kVector, row * 3 + i, static_cast<float>(random.normal()));
      set(columns, kTime, row, static_cast<std::int64_t>(first_time + row));
      set(columns, kLabel, row, static_cast<std::uint8_t>(random.below(2)));
    }
    return columns;
  }

  void write_file(const std::string& name, const std::vector<Field>& fields, const Columns& columns,
                  std::uint64_t rows, Codec codec = Codec::kNone, std::uint32_t chunk_rows = 16) {
    std::filesystem::remove(directory_ / name);
    PartitionWriter writer(directory_ / name, fields, chunk_rows, codec);
    std::vector<std::span<const std::byte>> spans(columns.begin(), columns.end());
    if (rows > 0) writer.append(spans, rows);
    writer.close();
  }
  void write_partition(const std::string& name, const Columns& columns, std::uint64_t rows,
                       Codec codec = Codec::kNone, std::uint32_t chunk_rows = 16) {
    write_file(name, contract().fields(), columns, rows, codec, chunk_rows);
  }
  void clear_partitions() {
    const std::filesystem::directory_iterator all(directory());
    const std::vector<std::filesystem::directory_entry> entries(begin(all), end(all));
    for (const auto& entry : entries) {
      if (entry.path().filename() != "contract.yaml") std::filesystem::remove_all(entry.path());
    }
  }

  /// Settings for this directory whose lines `logged` can find.
  ValidateOptions options() {
    ValidateOptions options;
    options.directory = directory();
    options.log = [this](LogLevel, std::string_view line) {
      const std::lock_guard lock(mutex_);
      log_ += std::string(line) + "\n";
    };
    return options;
  }
  bool logged(const std::string& part) const { return log_.find(part) != std::string::npos; }

 private:
  testing::ScratchDirectory directory_;
  std::mutex mutex_;
  std::string log_;
};

}  // namespace muster
