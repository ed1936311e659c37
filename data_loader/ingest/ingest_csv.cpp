// Ingest format "csv": delimited text with a column per field, gzip-compressed or not.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/text.h"
#include "data_loader/dataset/fault_groups.h"
#include "data_loader/ingest/csv_batches.h"
#include "data_loader/ingest/csv_spec.h"
#include "data_loader/ingest/csv_table.h"
#include "data_loader/ingest/ingest.h"

namespace muster {
namespace {

/// Reads a CSV file twice: first to count its rows, then to hand them on. Where wrong rows are left out the
/// first time finds them, where they are refused the second does: nothing is published before it has ended.
class CsvSource : public RowSource {
 public:
  CsvSource(const YamlNode& node, const IngestContext& context)
      : log_(context.log), threads_(context.threads) {
    for (const Field& field : context.fields) {
      if (!field.shape.empty())
        node.fail_here(
            fmt::format("'{}' is an array; a column of a CSV file holds one number a row", field.name));
    }
    CsvSpec spec = CsvSpec::parse(node, context);
    table_ = CsvTable::open(std::move(spec), context.fields);
    rows_ = context.known_rows          ? *context.known_rows
            : table_.spec.skip_bad_rows ? count_good_rows()
                                        : count_records();
  }

  std::uint64_t rows() const override { return rows_; }
  const std::vector<Field>& fields() const override { return table_.fields; }
  std::vector<std::filesystem::path> files() const override { return {table_.spec.file}; }

  void read(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    for (std::size_t i = 0; i < columns.size(); ++i) columns[i].resize(rows * table_.fields[i].value_bytes());
    for (std::uint64_t done = 0; done < rows;) {
      if (batch_ == nullptr || batch_row_ == batch_->rows) {
        next_batch();
        continue;
      }
      const std::uint64_t count = std::min(rows - done, batch_->rows - batch_row_);
      for (std::size_t i = 0; i < columns.size(); ++i) {
        const std::uint64_t bytes = table_.fields[i].value_bytes();
        std::memcpy(columns[i].data() + done * bytes, batch_->columns[i].data() + batch_row_ * bytes,
                    count * bytes);
      }
      done += count;
      batch_row_ += count;
    }
    rows_read_ += rows;
    if (rows_read_ == rows_) refuse_more_rows();
    if (rows_read_ != rows_) return;
    batches_.reset();  // no threads for a file that has been read
    repeated_ = {};
  }

 private:
  std::uint64_t count_records() const {
    CsvTableRecords records(table_.spec);
    std::uint64_t count = 0;
    while (records.next()) ++count;
    return count;
  }

  /// Says how many are left out.
  std::uint64_t count_good_rows() const {
    CsvBatches batches(table_, threads_);
    RepeatedRows repeated;
    std::uint64_t rows = 0;
    FaultGroups faults;
    while (CsvBatch* const batch = batches.next()) {
      if (table_.spec.repeated_is_bad) repeated.drop(*batch, table_);
      rows += batch->rows;
      faults.append(batch->faults);
    }
    if (faults.empty()) return rows;
    log_(LogLevel::kWarning,
         fmt::format("{}: {} and left out", table_.spec.file.string(), tell(faults, rows)));
    return rows;
  }

  /// Logs the first faults of each cause; how many there are.
  std::string tell(const FaultGroups& faults, std::uint64_t good_rows) const {
    constexpr std::size_t kMostCauses = 20;
    const auto& groups = faults.groups();
    for (const FaultGroups::Group& group : std::span(groups).first(std::min(kMostCauses, groups.size()))) {
      for (std::size_t i = 0; i < group.shown.size(); ++i) {
        const bool more = i + 1 == group.shown.size() && group.count > group.shown.size();
        const std::string others =
            more ? fmt::format(" (and {} more like it)", human_count(group.count - group.shown.size())) : "";
        log_(LogLevel::kWarning, group.shown[i].what() + others);
      }
    }
    if (groups.size() > kMostCauses)
      log_(LogLevel::kWarning, fmt::format("and {} more kinds of faults", groups.size() - kMostCauses));
    return fmt::format("{} of {} rows {} wrong", human_count(faults.count()),
                       human_count(good_rows + faults.count()), faults.count() == 1 ? "is" : "are");
  }

  /// False at the end of the file.
  bool take_next() {
    batch_ = batches_->next();
    batch_row_ = 0;
    if (batch_ != nullptr && table_.spec.repeated_is_bad) repeated_.drop(*batch_, table_);
    return batch_ != nullptr;
  }

  void next_batch() {
    if (!batches_) batches_.emplace(table_, threads_);
    take_next();
    if (batch_ == nullptr)
      throw Error(ErrorCode::kData, "has fewer rows than a moment ago: does somebody write it?",
                  table_.spec.file.string());
    rows_seen_ += batch_->rows;
    if (!table_.spec.skip_bad_rows && !batch_->faults.empty()) refuse_wrong_rows();
  }

  /// A file that grew since its rows were counted: who knows what else changed.
  void refuse_more_rows() {
    bool more = batch_ != nullptr && batch_row_ < batch_->rows;
    while (!more && batches_ && take_next()) {
      rows_seen_ += batch_->rows;
      if (!table_.spec.skip_bad_rows && !batch_->faults.empty()) refuse_wrong_rows();
      more = batch_->rows > 0;
    }
    if (more)
      throw Error(ErrorCode::kData, "has more rows than a moment ago: does somebody write it?",
                  table_.spec.file.string());
  }

  /// Looks through the rest of the file, so that all wrong rows are counted.
  [[noreturn]] void refuse_wrong_rows() {
    FaultGroups faults = batch_->faults;
    while (take_next()) {
      rows_seen_ += batch_->rows;
      faults.append(batch_->faults);
    }
    throw Error(ErrorCode::kData,
                fmt::format("{}; mend them, or `bad_rows: skip` leaves them out", tell(faults, rows_seen_)),
                table_.spec.file.string());
  }

  LogSink log_;
  unsigned threads_;
  CsvTable table_;
  std::uint64_t rows_ = 0;
  std::uint64_t rows_read_ = 0;        ///< handed on
  std::optional<CsvBatches> batches_;  ///< from the first `read` to the last
  RepeatedRows repeated_;
  CsvBatch* batch_ = nullptr;    ///< the one being handed on
  std::uint64_t batch_row_ = 0;  ///< the first of its rows that is not yet
  std::uint64_t rows_seen_ = 0;  ///< good ones of all batches so far
};

const bool kRegistered =
    ingest_formats().add("csv", {[](const YamlNode& source, const IngestContext& context) {
                                   return std::make_unique<CsvSource>(source, context);
                                 },
                                 "delimited text with a column per field, gzip-compressed or not", true});

}  // namespace
}  // namespace muster
