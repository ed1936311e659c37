#include "data_loader/ingest/csv_batches.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace muster {
namespace {

constexpr std::size_t kTextBytes = std::size_t{1} << 20;
constexpr std::uint64_t kValueBytes = std::uint64_t{4} << 20;

std::uint64_t most_rows_of(const CsvTable& table) {
  std::uint64_t bytes = 0;
  for (const Field& field : table.fields) bytes += field.value_bytes();
  return std::max<std::uint64_t>(1, kValueBytes / std::max<std::uint64_t>(1, bytes));
}

}  // namespace

CsvBatches::CsvBatches(const CsvTable& table, std::size_t slots, std::uint64_t most_rows)
    : table_(table), most_rows_(most_rows), records_(table.spec), slots_(slots) {
  for (Slot& slot : slots_) slot.batch.columns.resize(table.fields.size());
}

CsvBatches::CsvBatches(const CsvTable& table, unsigned threads)
    : CsvBatches(table, threads + std::size_t{2}, most_rows_of(table)) {
  ensure(threads > 0, "a CSV file needs a thread that parses it");
  for (unsigned i = 0; i < threads; ++i) parsers_.emplace_back(table);
  // From here on the destructor stops those that run.
  for (CsvRowParser& parser : parsers_) threads_.emplace_back([this, &parser] { work(parser); });
}

CsvBatches::~CsvBatches() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  room_.notify_all();
}

void CsvBatches::work(CsvRowParser& parser) {
  while (Slot* const slot = take()) {
    try {
      if (!slot->error) parse(*slot, parser);
    } catch (...) {
      slot->error = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    slot->ready = true;
    ready_.notify_one();
  }
}

/// Fills the next slot with records; nullptr if there are none left, or nobody wants them.
CsvBatches::Slot* CsvBatches::take() {
  const std::lock_guard reading(reading_);
  if (at_end_ || !wait_for_room()) return nullptr;
  Slot& slot = slots_[taken_ % slots_.size()];
  try {
    at_end_ = !fill(slot);
  } catch (...) {
    slot.error = std::current_exception();
    at_end_ = true;
  }
  const bool empty = slot.records.empty() && !slot.error;
  const std::lock_guard lock(mutex_);
  taken_ += empty ? 0 : 1;
  complete_ = at_end_;
  if (complete_) ready_.notify_one();
  return empty ? nullptr : &slot;
}

bool CsvBatches::wait_for_room() {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return stopping_ || taken_ < released_ + slots_.size(); });
  return !stopping_;
}

/// Whether more may follow.
bool CsvBatches::fill(Slot& slot) {
  slot.text.clear();
  slot.records.clear();
  while (slot.text.size() < kTextBytes && slot.records.size() < most_rows_) {
    if (!records_.next()) return false;
    slot.text += records_.record();
    slot.records.push_back({slot.text.size(), records_.line()});
  }
  return true;
}

void CsvBatches::parse(Slot& slot, CsvRowParser& parser) const {
  CsvBatch& batch = slot.batch;
  batch.rows = 0;
  batch.faults = FaultGroups();
  batch.lines.clear();
  for (std::size_t i = 0; i < batch.columns.size(); ++i) {
    const std::size_t bytes = slot.records.size() * table_.fields[i].value_bytes();
    if (batch.columns[i].size() < bytes) batch.columns[i].resize(bytes);
  }
  std::size_t begin = 0;
  for (const Record& record : slot.records) {
    const auto text = std::string_view(slot.text).substr(begin, record.end - begin);
    begin = record.end;
    if (const auto fault = parser.parse(text, batch.columns, batch.rows)) {
      batch.faults.add(fault->cause, [&] { return csv_fault(table_, record.line, fault->message); });
      continue;
    }
    ++batch.rows;
    batch.lines.push_back(record.line);
  }
  if (table_.spec.outside_is_bad) drop_outside(batch, table_);
}

CsvBatch* CsvBatches::next() {
  std::unique_lock lock(mutex_);
  if (given_) {
    given_ = false;
    slots_[released_++ % slots_.size()].ready = false;
    room_.notify_one();
  }
  Slot& slot = slots_[released_ % slots_.size()];
  ready_.wait(lock, [&] { return slot.ready || (complete_ && released_ == taken_); });
  if (!slot.ready) return nullptr;
  if (slot.error) std::rethrow_exception(slot.error);
  given_ = true;
  return &slot.batch;
}

}  // namespace muster
