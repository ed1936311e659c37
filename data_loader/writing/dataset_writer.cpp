#include "data_loader/writing/dataset_writer.h"

#include <algorithm>

#include "core/file_system.h"
#include "core/text.h"

namespace muster {
namespace {

constexpr std::string_view kUnpublished = ".appended-";
constexpr std::uint32_t kMostPartitions = 100'000;  // part-99999.h5 is the last name that sorts right

std::uint64_t bytes_per_row(const std::vector<Field>& fields) {
  std::uint64_t bytes = 0;
  for (const Field& field : fields) bytes += field.bytes_per_row();
  return bytes;
}

/// Rows of a chunk. A training split is seldom less than half of the rows, and it should have the blocks that
/// make a good shuffle. Of tokens: as many as the windows of such a block start on.
std::uint32_t chunk_rows(const Contract& contract, std::uint64_t rows) {
  const std::uint64_t bytes = bytes_per_row(contract.fields());
  if (!contract.has_windows()) return choose_block_rows(rows / 2, bytes);
  const TokenWindow& window = *contract.fields().front().window;
  constexpr std::uint64_t kMostTokens = 1U << 20;
  return static_cast<std::uint32_t>(
      std::min(choose_block_rows(window.rows(rows) / 2, bytes) * window.stride, kMostTokens));
}

/// Refuses what can never fit, before the disk is full. Deflate makes bytes at most 1032 times fewer
/// (zlib's technical details), so compressed data that do not fit are only seen for sure far beyond the disk.
void refuse_what_cannot_fit(const std::filesystem::path& directory, std::uint64_t rows,
                            std::uint64_t row_bytes, Codec codec) {
  std::error_code unknown;
  const auto space = std::filesystem::space(directory, unknown);
  if (unknown) return;
  constexpr double kMostDeflate = 1032;
  const double bytes = static_cast<double>(rows) * static_cast<double>(row_bytes);
  const double least = codec == Codec::kNone ? bytes : bytes / kMostDeflate;
  if (least <= static_cast<double>(space.available)) return;
  throw Error(
      ErrorCode::kStorage,
      fmt::format("{} rows of {} bytes need {} at least, the disk has {} left", human_count(rows), row_bytes,
                  human_bytes(least >= 0x1p63 ? std::uint64_t{1} << 63 : static_cast<std::uint64_t>(least)),
                  human_bytes(space.available)),
      directory.string());
}

}  // namespace

void refuse_existing_dataset(const std::filesystem::path& directory) {
  const auto files = make_posix_file_system();
  for (const std::string& name : files->list(directory)) {
    const std::string extension = std::filesystem::path(name).extension();
    if (name != "contract.yaml" && name != "manifest.json" && extension != ".h5" && extension != ".hdf5")
      continue;
    throw Error(
        ErrorCode::kUsage,
        fmt::format("holds a dataset or a part of one ({}): remove the directory or choose another", name),
        directory.string());
  }
}

bool is_unpublished(std::string_view name) { return name.starts_with(kUnpublished); }

DatasetWriter::DatasetWriter(Plan plan) : plan_(std::move(plan)), fields_(plan_.contract.stored_fields()) {
  const std::uint32_t room = kMostPartitions - std::min(plan_.existing_partitions, kMostPartitions);
  if (plan_.partitions == 0 || plan_.partitions > room) {
    fail(ErrorCode::kUsage, "{} partitions: give between 1 and {}", plan_.partitions, human_count(room));
  }
  if (plan_.existing_partitions == 0) refuse_existing_dataset(plan_.out);
  const auto files = make_posix_file_system();
  files->make_directories(plan_.out);
  refuse_what_cannot_fit(plan_.out, plan_.rows, bytes_per_row(fields_), plan_.codec);
  ensure(plan_.partition_rows.empty() || plan_.partition_rows.size() == plan_.partitions,
         "rows of {} partitions for {}", plan_.partition_rows.size(), plan_.partitions);
  plan_.last = std::min(plan_.last, plan_.partitions);
  plan_.first = opened_ = std::min(plan_.first, plan_.last);
  block_rows_ = plan_.block_rows > 0 ? plan_.block_rows : chunk_rows(plan_.contract, plan_.rows);
}

DatasetWriter::~DatasetWriter() {
  if (finished_) return;
  std::error_code left_behind;  // nothing to be done about it here
  for (std::uint32_t i = plan_.first; i < opened_; ++i)
    std::filesystem::remove(written_path_of(i), left_behind);
}

std::filesystem::path DatasetWriter::path_of(std::uint32_t partition) const {
  return plan_.out / fmt::format("part-{:05}.h5", plan_.existing_partitions + partition);
}

/// Where it lies until it is published.
std::filesystem::path DatasetWriter::written_path_of(std::uint32_t partition) const {
  const std::filesystem::path path = path_of(partition);
  if (plan_.existing_partitions == 0) return path;
  return path.parent_path() / (std::string(kUnpublished) + path.filename().string());
}

std::vector<std::string> DatasetWriter::partition_names() const {
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < plan_.partitions; ++i) names.push_back(path_of(i).filename().string());
  return names;
}

std::uint64_t DatasetWriter::rows_at_once() const {
  return std::clamp<std::uint64_t>((1U << 20) / std::max<std::uint64_t>(1, bytes_per_row(fields_)), 1, 65536);
}

std::uint64_t DatasetWriter::rows_of(std::uint32_t partition) const {
  if (!plan_.partition_rows.empty()) return plan_.partition_rows[partition];
  return plan_.rows / plan_.partitions + (partition < plan_.rows % plan_.partitions ? 1 : 0);
}

void DatasetWriter::open_next() {
  if (writer_) writer_->close();
  writer_.emplace(written_path_of(opened_), fields_, block_rows_, plan_.codec);
  rows_left_ = rows_of(opened_++);
}

void DatasetWriter::append(std::span<const std::span<const std::byte>> columns, std::uint64_t rows) {
  ensure(columns.size() == fields_.size(), "{} columns for {} fields", columns.size(), fields_.size());
  ensure(rows <= plan_.rows - rows_written_, "more rows than the {} announced", plan_.rows);
  for (std::uint64_t done = 0; done < rows;) {
    if (rows_left_ == 0) open_next();
    const std::uint64_t take = std::min(rows - done, rows_left_);
    std::vector<std::span<const std::byte>> part;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const std::uint64_t bytes = fields_[i].bytes_per_row();
      part.push_back(columns[i].subspan(done * bytes, take * bytes));
    }
    writer_->append(part, take);
    done += take;
    rows_left_ -= take;
    rows_written_ += take;
  }
}

void DatasetWriter::close() {
  std::uint64_t rows = 0;
  for (std::uint32_t i = plan_.first; i < plan_.last; ++i) rows += rows_of(i);
  ensure(rows_written_ == rows, "{} rows of {} were written", rows_written_, rows);
  while (opened_ < plan_.last) open_next();
  if (writer_) writer_->close();
  writer_.reset();
}

void DatasetWriter::publish(const std::function<void()>& record) {
  const auto files = make_posix_file_system();
  if (plan_.existing_partitions == 0) {
    if (record) record();
    files->replace(plan_.out / "contract.yaml", plan_.contract_yaml);
    return;
  }
  std::uint32_t renamed = 0;
  try {
    for (; renamed < plan_.partitions; ++renamed) files->rename(written_path_of(renamed), path_of(renamed));
    files->sync_directory(plan_.out);
    if (record) record();
  } catch (...) {  // not recorded, so no part of the dataset
    std::error_code left_behind;
    for (std::uint32_t i = 0; i < renamed; ++i) std::filesystem::remove(path_of(i), left_behind);
    throw;
  }
}

void DatasetWriter::finish(const std::function<void()>& record) {
  close();
  publish(record);
  release();
}

}  // namespace muster
