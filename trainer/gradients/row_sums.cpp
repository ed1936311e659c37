#include "trainer/gradients/row_sums.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "trainer/comm/gather.h"

namespace muster {
namespace {

constexpr std::uint64_t kAllRows = ~std::uint64_t{0};

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

void RowSums::finish() {
  if (tables_.empty()) return;
  std::vector<std::uint64_t> mine;
  for (const State& state : tables_) mine.push_back(state.gave_all ? kAllRows : state.given.ids.size());
  // Of one rank's tables after the other's.
  const auto counts = gather<std::uint64_t>(comm_, "numbers of gradients' rows", mine);
  std::vector<std::unique_ptr<PendingReduce>> sums;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    State& state = tables_[i];
    std::uint64_t all = 0;
    for (std::size_t at = i; at < counts.size() && all != kAllRows; at += tables_.size())
      all = counts[at] == kAllRows ? kAllRows : all + counts[at];
    state.by_rows = all < state.table.rows;
    (state.by_rows ? by_rows_ : whole_) += 1;
    if (!state.gave_all) clear(state);
    state.dirty_rows.clear();
    state.all_dirty = !state.by_rows;
    if (state.by_rows) continue;
    add(state, state.given.ids, state.given.values);
    sums.push_back(state.buffer->start("gradient of " + state.table.name));
  }
  exchange_rows(counts);  // beside the sums
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

void RowSums::add(State& state, std::span<const std::int64_t> ids, std::span<const float> values) {
  const std::size_t width = state.table.width;
  for (const std::int64_t id : ids) {
    ensure(id >= 0 && static_cast<std::size_t>(id) < state.table.rows, "row {} of '{}', which has {}", id,
           state.table.name, state.table.rows);
    const auto sum = state.buffer->values().subspan(static_cast<std::size_t>(id) * width, width);
    for (std::size_t i = 0; i < width; ++i) sum[i] += values[i];
    values = values.subspan(width);
  }
}

/// `counts`: of the rows that each rank has of each table.
void RowSums::exchange_rows(std::span<const std::uint64_t> counts) {
  if (std::ranges::none_of(tables_, &State::by_rows)) return;
  TableRows mine;
  for (const State& state : tables_) {
    if (!state.by_rows) continue;
    mine.ids.insert(mine.ids.end(), state.given.ids.begin(), state.given.ids.end());
    mine.values.insert(mine.values.end(), state.given.values.begin(), state.given.values.end());
  }
  const auto all_ids = gather<std::int64_t>(comm_, "ids of gradients' rows", mine.ids);
  const auto all_values = gather<float>(comm_, "gradients' rows", mine.values);
  std::span<const std::int64_t> ids(all_ids);
  std::span<const float> values(all_values);
  for (std::size_t at = 0; at < counts.size(); ++at) {
    State& state = tables_[at % tables_.size()];
    if (!state.by_rows) continue;
    add(state, ids.first(counts[at]), values);
    state.dirty_rows.insert(state.dirty_rows.end(), ids.begin(),
                            ids.begin() + static_cast<std::ptrdiff_t>(counts[at]));
    ids = ids.subspan(counts[at]);
    values = values.subspan(counts[at] * state.table.width);
  }
}

}  // namespace muster
