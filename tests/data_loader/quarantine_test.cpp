// Rows that turn out bad: the list of them, and what a stream makes of them.
#include "data_loader/dataset/quarantine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "tests/data_loader/stream_case.h"

namespace muster {
namespace {

using testing::StreamCase;

TEST(Quarantine, HoldsTheRowsItWasGiven) {
  RandomStream random(21);
  testing::Edges edges;
  for (int i = 0; i < 300; ++i) {
    Quarantine quarantine;
    std::set<std::pair<std::uint32_t, std::uint64_t>> rows;
    EXPECT_TRUE(quarantine.empty());
    for (std::uint64_t n = random.below(12); n > 0; --n) {
      const BadRows bad{static_cast<std::uint32_t>(random.below(2)), random.below(40), random.below(9),
                        "why"};
      const std::size_t before = rows.size();
      for (std::uint64_t row = 0; row < bad.rows; ++row) rows.insert({bad.partition, bad.first_row + row});
      const bool more = quarantine.add(bad);
      // A range whose rows were all there, but in two ranges, may be told again; one with new rows always is.
      EXPECT_TRUE(more || rows.size() == before);
      EXPECT_FALSE(more && bad.rows == 0);
      edges.hit("no row", bad.rows == 0);
      edges.hit("nothing new", bad.rows > 0 && rows.size() == before);
      edges.hit("some of it new", rows.size() > before && rows.size() < before + bad.rows);
    }
    Quarantine again;
    again.restore(Json::parse(quarantine.to_json().dump()));
    again.restore(nullptr);
    for (const Quarantine* one : {&quarantine, &again}) {
      EXPECT_EQ(one->rows(), rows.size());
      EXPECT_EQ(one->empty(), rows.empty());
      for (std::uint32_t partition = 0; partition < 3; ++partition) {
        for (std::uint64_t row = 0; row < 50; ++row)
          ASSERT_EQ(one->contains(partition, row), rows.count({partition, row}) > 0)
              << partition << " " << row;
      }
    }
    EXPECT_EQ(again.to_json(), quarantine.to_json());
  }
  edges.expect_all_hit();
}

/// 24 blocks of 25 rows in two partitions.
RowIndex small_index() {
  std::vector<Block> blocks;
  for (std::uint32_t i = 0; i < 24; ++i) blocks.push_back({i / 12, std::uint64_t{i % 12} * 25, 25});
  RowIndex index({"train"}, blocks);
  for (std::uint32_t i = 0; i < 24; ++i) index.append_block(std::vector<std::uint8_t>(25, 0));
  return index;
}

/// Some blocks it cannot read at all, some not at the first try.
class BrokenReader : public BlockReader {
 public:
  BrokenReader(BlockReader& inner, std::set<std::uint32_t> broken, std::set<std::uint32_t> shaky)
      : inner_(inner), broken_(std::move(broken)), shaky_(std::move(shaky)) {}
  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = shaky_.erase(block) > 0;
      ++reads_[block];
    }
    if (first) throw Error(ErrorCode::kStorage, "the network is slow", "x");
    if (broken_.count(block) > 0)
      throw Error(block % 2 == 0 ? ErrorCode::kStorage : ErrorCode::kData, "is no block",
                  fmt::format("block {}", block));
    inner_.read(block, field, out);
  }
  const std::vector<Block>& blocks() const override { return inner_.blocks(); }
  std::map<std::uint32_t, int> reads() const { return reads_; }

 private:
  BlockReader& inner_;
  std::set<std::uint32_t> broken_;
  std::set<std::uint32_t> shaky_;
  std::map<std::uint32_t, int> reads_;
  std::mutex mutex_;
};

constexpr OrderSettings kSettings{.seed = 5, .batch_size = 32, .lanes = 4, .window = 2};

/// A data set with some NaNs, and what is bad about it.
struct BrokenCase {
  RowIndex index = small_index();
  StreamCase good;
  std::vector<std::vector<std::byte>> columns;
  std::unique_ptr<BlockReader> reader;  ///< of the columns with the NaNs
  std::set<std::uint32_t> broken;
  std::set<std::uint64_t> nan_rows;  ///< over all blocks

  explicit BrokenCase(RandomStream& random)
      : good(testing::random_stream(index.blocks(), random,
                                    "  x: {dtype: float32}\n  y: {dtype: int16, role: label}\n")),
        columns(good.columns) {
    for (int i = 0; i < 3; ++i) broken.insert(static_cast<std::uint32_t>(random.below(24)));
    for (int i = 0; i < 5; ++i) nan_rows.insert(random.below(600));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const std::uint64_t row : nan_rows)
      std::memcpy(columns[0].data() + row * sizeof nan, &nan, sizeof nan);
    reader = make_memory_block_reader(good.contract, index.blocks(), columns);
  }
  bool is_bad(RowId id) const {
    const std::uint64_t row = id.partition * std::uint64_t{300} + id.row;
    return broken.count(static_cast<std::uint32_t>(row / 25)) > 0 || nan_rows.count(row) > 0;
  }
};

/// The same row of two batches.
bool same_row(const Batch& a, std::size_t row_a, const Batch& b, std::size_t row_b) {
  bool same = a.weights()[row_a] == b.weights()[row_b] && a.ids()[row_a] == b.ids()[row_b];
  for (std::size_t tensor = 0; tensor < a.specs().size(); ++tensor) {
    const std::size_t bytes = a.specs()[tensor].bytes_per_row();
    same = same && std::memcmp(a.data(tensor) + row_a * bytes, b.data(tensor) + row_b * bytes, bytes) == 0;
  }
  return same;
}

TEST(BadRows, KeepTheirPlacesOrAreTakenOutAndNothingElseChanges) {
  RandomStream random(22);
  for (int i = 0; i < 20; ++i) {
    for (const BadRowPolicy policy : {BadRowPolicy::kKeepSlot, BadRowPolicy::kDrop}) {
      SCOPED_TRACE(i);
      BrokenCase it(random);
      BrokenReader reader(*it.reader, it.broken, {3, 7, 11, 19});
      const Quarantine nothing;
      StreamOptions options{.threads = static_cast<unsigned>(1 + i % 4)};
      options.on_bad_rows = policy;
      options.quarantine = &nothing;
      BatchStream stream(make_training_plan(it.index, 0, kSettings, {}, 2, 0, 1), reader, it.good.contract,
                         it.good.pipeline, options);
      BatchStream all =
          testing::make_stream(it.good, make_training_plan(it.index, 0, kSettings, {}, 2, 0, 1));
      Quarantine told;
      std::uint64_t bad_rows = 0;
      while (const Batch* want = all.next()) {
        const Batch* got = stream.next();
        ASSERT_NE(got, nullptr);
        for (const BadRows& bad : stream.found()) {
          told.add(bad);
          EXPECT_NE(bad.reason.find(bad.rows == 1 ? "partition" : "is no block"), std::string::npos)
              << bad.reason;
        }
        std::size_t at = 0;
        std::uint64_t bad_here = 0;
        for (std::size_t row = 0; row < want->rows(); ++row) {
          const RowId id = want->ids()[row];
          const bool bad = it.is_bad(id);
          bad_here += bad ? 1 : 0;
          EXPECT_TRUE(!bad || told.contains(id.partition, id.row)) << "a bad row that nobody was told of";
          if (bad && policy == BadRowPolicy::kDrop) continue;
          ASSERT_LT(at, got->rows());
          EXPECT_EQ(got->positions()[at], want->positions()[row]);
          EXPECT_EQ(got->bad()[at], bad ? 1 : 0);
          if (bad) {
            EXPECT_EQ(got->weights()[at], 0);
            EXPECT_TRUE(got->ids()[at] == id);
            EXPECT_EQ(std::memcmp(got->data(0) + at * 4, "\0\0\0\0", 4), 0);
          } else {
            EXPECT_TRUE(same_row(*got, at, *want, row));
          }
          ++at;
        }
        EXPECT_EQ(at, got->rows());
        EXPECT_EQ(stream.dropped(), policy == BadRowPolicy::kDrop ? bad_here : 0);
        bad_rows += bad_here;
      }
      EXPECT_EQ(stream.next(), nullptr);
      EXPECT_EQ(told.rows() * 2, bad_rows) << "two epochs";
    }
  }
}

TEST(BadRows, WhatWasAgreedCountsFromTheNextBatchOnAndIsNotReadAgain) {
  RandomStream random(23);
  BrokenCase it(random);
  Quarantine agreed;
  agreed.add({0, 50, 25, "a whole block"});
  BrokenReader reader(*it.good.reader, {2}, {});
  StreamOptions options{.threads = 2};
  options.on_bad_rows = BadRowPolicy::kKeepSlot;
  options.quarantine = &agreed;
  BatchStream stream(make_training_plan(it.index, 0, kSettings, {}, 1, 0, 1), reader, it.good.contract,
                     it.good.pipeline, options);
  std::uint64_t passed_over = 0;
  std::uint64_t later = 0;
  std::uint64_t edited = 0;
  const Batch* ahead = nullptr;
  std::uint64_t edits_before = 0;
  for (int step = 0; const Batch* batch = stream.next(); ++step) {
    if (ahead != nullptr) {  // who copied it sees that rows of it are passed over now
      EXPECT_EQ(batch, ahead);
      const bool newly = step == 6 && std::ranges::any_of(batch->ids(), [](const RowId& id) {
                           return id.partition == 1 && id.row < 100;
                         });
      if (newly) {
        EXPECT_GT(batch->edits, edits_before);
        ++edited;
      } else if (step < 6) {
        EXPECT_EQ(batch->edits, edits_before);
      }
    }
    EXPECT_TRUE(stream.found().empty());
    for (std::size_t row = 0; row < batch->rows(); ++row) {
      const RowId id = batch->ids()[row];
      const bool late = step > 5 && id.partition == 1 && id.row < 100;
      EXPECT_EQ(batch->bad()[row], (id.partition == 0 && id.row / 25 == 2) || late ? 1 : 0);
      EXPECT_EQ(batch->weights()[row], batch->bad()[row] != 0 ? 0 : 1);
      passed_over += batch->bad()[row];
      later += late ? 1 : 0;
    }
    while (step == 5 && stream.ahead() == nullptr) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ahead = stream.ahead();
    edits_before = ahead == nullptr ? 0 : ahead->edits;
    if (step == 5) agreed.add({1, 0, 100, "read ahead already"});
  }
  EXPECT_EQ(edited, 1U);
  EXPECT_EQ(reader.reads().count(2), 0U);
  EXPECT_EQ(passed_over, 25 + later);
  EXPECT_GT(later, 20U);
}

TEST(BadRows, WhatIsNoFaultOfTheDataEndsTheStream) {
  RandomStream random(24);
  BrokenCase it(random);
  class Buggy : public BrokenReader {
   public:
    using BrokenReader::BrokenReader;
    void read(std::uint32_t, std::size_t, std::span<std::byte>) override {
      throw Error(ErrorCode::kBug, "oh");
    }
  } reader(*it.good.reader, {}, {});
  const Quarantine nothing;
  StreamOptions options;
  options.on_bad_rows = BadRowPolicy::kKeepSlot;
  options.quarantine = &nothing;
  BatchStream stream(make_training_plan(it.index, 0, kSettings, {}, 1, 0, 1), reader, it.good.contract,
                     it.good.pipeline, options);
  EXPECT_THROW(stream.next(), Error);
}

}  // namespace
}  // namespace muster
