#include "data_loader/ingest.h"

#include <algorithm>
#include <cstring>
#include <future>

#include "core/file_system.h"
#include "core/text.h"
#include "data_loader/append.h"
#include "data_loader/dataset_writer.h"
#include "data_loader/ingest_spec.h"
#include "data_loader/row_shuffle.h"
#include "data_loader/source_record.h"

namespace muster {
namespace {

using Columns = std::vector<std::span<const std::byte>>;

std::uint64_t bytes_per_row(const std::vector<Field>& fields) {
  std::uint64_t bytes = 0;
  for (const Field& field : fields) bytes += field.bytes_per_row();
  return bytes;
}

/// Reads all sources in order and hands their rows on, some at a time, as the contract's columns. Rows are
/// numbered from `first_row` on.
template <typename Take>
void read_all(IngestSpec& spec, std::uint64_t first_row, std::uint64_t rows_at_once, Take&& take) {
  auto row_number = static_cast<std::int64_t>(first_row);
  std::vector<std::int64_t> numbers;
  for (IngestSpec::Source& source : spec.sources) {
    std::vector<std::vector<std::byte>> read(source.rows->fields().size());
    const std::uint64_t rows = source.rows->rows();
    for (std::uint64_t done = 0; done < rows;) {
      const std::uint64_t count = std::min(rows_at_once, rows - done);
      source.rows->read(count, read);
      numbers.resize(count);
      for (std::int64_t& number : numbers) number = row_number++;
      Columns columns;
      for (const std::optional<std::size_t>& column : source.column_of_field) {
        columns.push_back(column ? std::span<const std::byte>(read[*column])
                                 : std::as_bytes(std::span(numbers)));
      }
      take(columns, count);
      done += count;
    }
  }
}

/// The same, in random order: rows are packed into records for the shuffle and unpacked again.
template <typename Take>
void read_shuffled(IngestSpec& spec, std::uint64_t first_row, std::uint64_t rows_at_once, RowShuffle& shuffle,
                   Take&& take) {
  const std::vector<Field>& fields = spec.stored;
  std::vector<std::byte> record;
  read_all(spec, first_row, rows_at_once, [&](const Columns& columns, std::uint64_t rows) {
    for (std::uint64_t row = 0; row < rows; ++row) {
      record.clear();
      for (std::size_t i = 0; i < fields.size(); ++i) {
        const std::uint64_t bytes = fields[i].bytes_per_row();
        const auto value = columns[i].subspan(row * bytes, bytes);
        record.insert(record.end(), value.begin(), value.end());
      }
      shuffle.add(record);
    }
  });
  shuffle.drain([&](std::span<const std::byte> records, std::uint64_t rows) {
    std::vector<std::vector<std::byte>> unpacked(fields.size());
    Columns columns;
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const std::uint64_t bytes = fields[i].bytes_per_row();
      unpacked[i].resize(rows * bytes);
      for (std::uint64_t row = 0; row < rows; ++row) {
        std::memcpy(unpacked[i].data() + row * bytes, records.data() + row * (records.size() / rows) + offset,
                    bytes);
      }
      offset += bytes;
      columns.emplace_back(unpacked[i]);
    }
    take(columns, rows);
  });
}

/// The files that a spec's rows come from, each once.
std::vector<std::filesystem::path> source_files(const IngestSpec& spec) {
  std::vector<std::filesystem::path> files;
  for (const IngestSpec::Source& source : spec.sources) {
    for (const std::filesystem::path& file : source.rows->files()) {
      if (std::ranges::find(files, file) == files.end()) files.push_back(file);
    }
  }
  return files;
}

/// Hashes the sources while their rows are read.
std::future<std::vector<SourceFile>> hash_beside(const IngestSpec& spec, const std::filesystem::path& base) {
  return std::async(std::launch::async,
                    [files = source_files(spec), base] { return hash_sources(files, base); });
}

}  // namespace

IngestReport ingest(const IngestOptions& options) {
  if (!options.append) refuse_existing_dataset(options.out);
  IngestSpec spec = IngestSpec::load(options.spec, options.probe, options.log, options.threads);
  const std::uint64_t row_bytes = bytes_per_row(spec.stored);
  if (options.shuffle_seed && spec.contract.has_windows())
    fail(ErrorCode::kUsage,
         "--shuffle would tear the stream of tokens apart, as its rows are windows: training shuffles those");
  const auto files = make_posix_file_system();
  ExistingDataset existing;
  if (options.append) existing = existing_dataset(options.out, spec.contract, options.probe);
  if (!existing.records.empty()) save_sources(*files, options.out, existing.records);
  auto hashes = hash_beside(spec, std::filesystem::absolute(options.spec).parent_path());
  DatasetWriter writer({options.out, spec.contract_yaml, spec.contract, spec.rows, spec.partitions,
                        spec.partition_rows, options.codec, existing.partitions, existing.block_rows});
  const auto write = [&](const Columns& columns, std::uint64_t rows) { writer.append(columns, rows); };
  if (options.shuffle_seed) {
    RowShuffle shuffle(options.out / "shuffle.tmp", spec.rows, row_bytes, *options.shuffle_seed);
    read_shuffled(spec, existing.rows, writer.rows_at_once(), shuffle, write);
  } else {
    read_all(spec, existing.rows, writer.rows_at_once(), write);
  }
  std::vector<IngestRecord> records = existing.records;
  records.push_back({spec.rows, writer.partition_names(), hashes.get()});
  writer.finish([&] { save_sources(*files, options.out, records); });
  const IngestReport report{existing.rows, spec.rows, spec.contract.has_windows(), spec.partitions,
                            spec.rows * row_bytes};
  options.log(LogLevel::kInfo,
              fmt::format("ingested {} {} ({}) into {} partitions: {}", human_count(report.rows),
                          report.tokens ? "tokens" : "rows", human_bytes(report.bytes),
                          human_count(report.partitions), options.out.string()));
  return report;
}

}  // namespace muster
