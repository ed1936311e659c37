#include "trainer/row_sums.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace muster {
namespace {

constexpr std::uint64_t kAllRows = ~std::uint64_t{0};

template <typename T>
std::vector<T> items_of(std::span<const std::byte> bytes) {
  std::vector<T> items(bytes.size() / sizeof(T));
  if (!items.empty()) std::memcpy(items.data(), bytes.data(), items.size() * sizeof(T));
  return items;
}

template <typename T>
void append(std::vector<std::byte>& message, const std::vector<T>& items) {
  const auto bytes = std::as_bytes(std::span(items));
  message.insert(message.end(), bytes.begin(), bytes.end());
}

}  // namespace

RowSums::RowSums(Communicator& comm, const std::vector<Table>& tables, SumPrecision precision) : comm_(comm) {
  for (const Table& table : tables) {
    State& state = tables_.emplace_back();
    state.table = table;
    state.buffer = comm.make_sum_buffer("gradient of " + table.name, table.rows * table.width, precision);
  }
}

std::span<float> RowSums::table(std::size_t number) { return tables_[number].buffer->values(); }

void RowSums::give(std::size_t number, TableRows rows) {
  State& state = tables_[number];
  ensure(rows.values.size() == rows.ids.size() * state.table.width, "{} values of {} rows of '{}'",
         rows.values.size(), rows.ids.size(), state.table.name);
  state.given = std::move(rows);
}

void RowSums::give_all(std::size_t number) { tables_[number].gave_all = true; }

/// Which tables travel by rows: the same on all ranks.
std::vector<bool> RowSums::agree_on_rows() {
  std::vector<std::uint64_t> mine;
  for (const State& state : tables_) mine.push_back(state.gave_all ? kAllRows : state.given.ids.size());
  std::vector<std::uint64_t> all(tables_.size());
  for (const auto& message : comm_.all_gather("rows of gradients", std::as_bytes(std::span(mine)))) {
    const auto theirs = items_of<std::uint64_t>(message);
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = all[i] == kAllRows || theirs[i] == kAllRows ? kAllRows : all[i] + theirs[i];
  }
  std::vector<bool> travels_by_rows;
  for (std::size_t i = 0; i < all.size(); ++i) travels_by_rows.push_back(all[i] < tables_[i].table.rows);
  return travels_by_rows;
}

void RowSums::finish() {
  if (tables_.empty()) return;
  const std::vector<bool> travels_by_rows = agree_on_rows();
  std::vector<std::unique_ptr<PendingReduce>> sums;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    State& state = tables_[i];
    (travels_by_rows[i] ? by_rows_ : whole_) += 1;
    if (!state.gave_all) clear(state);
    state.dirty_rows.clear();
    state.all_dirty = !travels_by_rows[i];
    if (travels_by_rows[i]) continue;
    add(state, state.given.ids, reinterpret_cast<const std::byte*>(state.given.values.data()));
    sums.push_back(state.buffer->start("gradient of " + state.table.name));
  }
  exchange_rows(travels_by_rows);  // beside the sums
  for (const auto& sum : sums) sum->wait();
  for (State& state : tables_) {
    state.given = {};
    state.gave_all = false;
  }
}

/// What the last sum left.
void RowSums::clear(State& state) {
  if (state.all_dirty) {
    state.buffer->clear(state.buffer->values());
    return;
  }
  const std::size_t width = state.table.width;
  for (const std::int64_t row : state.dirty_rows)
    std::ranges::fill(state.buffer->values().subspan(static_cast<std::size_t>(row) * width, width), 0.0F);
}

/// `values`: as TableRows has them, aligned or not.
void RowSums::add(State& state, std::span<const std::int64_t> ids, const std::byte* values) {
  const std::size_t width = state.table.width;
  std::vector<float> row(width);
  for (const std::int64_t id : ids) {
    ensure(id >= 0 && static_cast<std::size_t>(id) < state.table.rows, "row {} of '{}', which has {}", id,
           state.table.name, state.table.rows);
    std::memcpy(row.data(), values, width * sizeof(float));
    values += width * sizeof(float);
    float* const sum = state.buffer->values().data() + static_cast<std::size_t>(id) * width;
    for (std::size_t i = 0; i < width; ++i) sum[i] += row[i];
  }
}

void RowSums::exchange_rows(const std::vector<bool>& travels_by_rows) {
  if (std::ranges::find(travels_by_rows, true) == travels_by_rows.end()) return;
  // Of each table its number of rows, their ids and values.
  std::vector<std::byte> mine;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    if (!travels_by_rows[i]) continue;
    append(mine, std::vector<std::uint64_t>{tables_[i].given.ids.size()});
    append(mine, tables_[i].given.ids);
    append(mine, tables_[i].given.values);
  }
  for (const auto& message : comm_.all_gather("gradients by rows", mine)) {
    std::span<const std::byte> rest(message);
    const auto take = [&](std::size_t bytes) {
      ensure(bytes <= rest.size(), "a message of rows ends after {} bytes", message.size());
      const auto first = rest.first(bytes);
      rest = rest.subspan(bytes);
      return first;
    };
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      if (!travels_by_rows[i]) continue;
      State& state = tables_[i];
      const std::size_t rows = items_of<std::uint64_t>(take(sizeof(std::uint64_t))).front();
      const auto ids = items_of<std::int64_t>(take(rows * sizeof(std::int64_t)));
      add(state, ids, take(rows * state.table.width * sizeof(float)).data());
      state.dirty_rows.insert(state.dirty_rows.end(), ids.begin(), ids.end());
    }
  }
}

}  // namespace muster
