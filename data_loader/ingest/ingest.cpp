#include "data_loader/ingest/ingest.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <numeric>
#include <optional>

#include "core/file_lock.h"
#include "core/file_system.h"
#include "core/text.h"
#include "data_loader/ingest/ingest_spec.h"
#include "data_loader/manifest/source_record.h"
#include "data_loader/manifest/source_stamp.h"
#include "data_loader/order/row_shuffle.h"
#include "data_loader/writing/append.h"
#include "data_loader/writing/dataset_writer.h"

namespace muster {
namespace {

using Columns = std::vector<std::span<const std::byte>>;

constexpr std::uint64_t kSkippedAtOnce = 4096;

std::uint64_t bytes_per_row(const std::vector<Field>& fields) {
  std::uint64_t bytes = 0;
  for (const Field& field : fields) bytes += field.bytes_per_row();
  return bytes;
}

/// A run of rows over all sources.
struct RowRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  ///< exclusive
};

/// Rows of several sources, one after the other.
class SourceRows {
 public:
  /// `first_number`: of the first row of the first source.
  SourceRows(IngestSpec& spec, std::vector<std::uint64_t> rows_of_source, std::uint64_t first_number)
      : spec_(spec), rows_of_source_(std::move(rows_of_source)), first_number_(first_number) {}

  /// Opens the sources that have rows of these; closes the others.
  void prepare(RowRange wanted) {
    for_each_part(wanted, [&](std::size_t source, RowRange part) {
      if (part.first == part.last)
        spec_.sources()[source].rows.reset();
      else
        spec_.open(source, rows_of_source_[source]);
    });
  }

  /// Hands them on, some at a time, as the contract's columns.
  template <typename Take>
  void read(RowRange wanted, std::uint64_t rows_at_once, Take&& take) {
    std::uint64_t before = 0;
    for_each_part(wanted, [&](std::size_t source, RowRange part) {
      if (part.first < part.last)
        read_source(spec_.sources()[source], part, first_number_ + before, rows_at_once, take);
      before += rows_of_source_[source];
      spec_.sources()[source].rows.reset();
    });
  }

 private:
  /// Calls body(source, its own rows among the wanted).
  template <typename Body>
  void for_each_part(RowRange wanted, Body&& body) {
    std::uint64_t before = 0;
    for (std::size_t i = 0; i < rows_of_source_.size(); ++i) {
      const std::uint64_t end = before + rows_of_source_[i];
      const std::uint64_t first = std::clamp(wanted.first, before, end);
      const std::uint64_t last = std::clamp(wanted.last, first, end);
      body(i, RowRange{first - before, last - before});
      before = end;
    }
  }

  template <typename Take>
  void read_source(IngestSpec::Source& source, RowRange part, std::uint64_t first_number,
                   std::uint64_t rows_at_once, Take&& take) {
    source.rows->skip(part.first);
    std::vector<std::vector<std::byte>> read(source.rows->fields().size());
    std::vector<std::int64_t> numbers;
    for (std::uint64_t row = part.first; row < part.last;) {
      const std::uint64_t count = std::min(rows_at_once, part.last - row);
      source.rows->read(count, read);
      numbers.resize(count);
      std::iota(numbers.begin(), numbers.end(), static_cast<std::int64_t>(first_number + row));
      Columns columns;
      for (const std::optional<std::size_t>& column : source.column_of_field) {
        columns.push_back(column ? std::span<const std::byte>(read[*column])
                                 : std::as_bytes(std::span(numbers)));
      }
      take(columns, count);
      row += count;
    }
  }

  IngestSpec& spec_;
  std::vector<std::uint64_t> rows_of_source_;
  std::uint64_t first_number_;
};

/// Packs rows into records for a shuffle.
void add_records(RowShuffle& shuffle, const std::vector<Field>& fields, const Columns& columns,
                 std::uint64_t rows) {
  std::vector<std::byte> record;
  for (std::uint64_t row = 0; row < rows; ++row) {
    record.clear();
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const std::uint64_t bytes = fields[i].bytes_per_row();
      const auto value = columns[i].subspan(row * bytes, bytes);
      record.insert(record.end(), value.begin(), value.end());
    }
    shuffle.add(record);
  }
}

/// Unpacks the shuffled records again.
template <typename Take>
void take_records(RowShuffle& shuffle, const std::vector<Field>& fields, Take&& take) {
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

/// Files whose content the dataset has already: their rows would count twice.
void refuse_known(const std::vector<IngestRecord>& records, const std::vector<SourceFile>& files,
                  const std::filesystem::path& out) {
  for (const IngestRecord& record : records) {
    for (const SourceFile& known : record.files) {
      const auto same = [&](const SourceFile& file) { return file.content == known.content; };
      const auto found = std::ranges::find_if(files, same);
      if (found == files.end()) continue;
      throw Error(
          ErrorCode::kUsage,
          fmt::format("has the rows of {} already, as {} of an earlier ingest (sources.json): nothing "
                      "was added; --again adds them once more",
                      found->name, known.name),
          out.string());
    }
  }
}

std::uint64_t sum(std::span<const std::uint64_t> numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), std::uint64_t{0});
}

}  // namespace

void RowSource::skip(std::uint64_t rows) {
  std::vector<std::vector<std::byte>> columns(fields().size());
  for (std::uint64_t done = 0; done < rows;) {
    const std::uint64_t count = std::min(kSkippedAtOnce, rows - done);
    read(count, columns);
    done += count;
  }
}

struct Ingest::State {
  IngestOptions options;
  std::size_t rank;
  std::size_t world;
  IngestSpec spec;
  std::vector<std::uint64_t> counted;
  std::optional<FileLock> lock;     ///< rank 0's: nobody else ingests into `out`
  std::vector<SourceStamp> stamps;  ///< of this rank's sources' files, when they were opened
  /// Of each of this rank's sources, made beside the reading.
  std::future<std::vector<std::vector<SourceFile>>> hashes;
  ExistingDataset existing;
  std::optional<SourceRows> rows;
  RowRange wanted;  ///< this rank's
  std::optional<DatasetWriter> writer;
  IngestReport report;

  State(IngestOptions given, std::size_t my_rank, std::size_t ranks)
      : options(std::move(given)), rank(my_rank), world(ranks), spec(options) {}

  /// Of all sources, from what the ranks that have each have counted.
  std::vector<std::uint64_t> rows_of_source(std::span<const std::vector<std::uint64_t>> by_rank) {
    std::vector<std::uint64_t> all;
    for (std::size_t i = 0; i < spec.sources().size(); ++i) all.push_back(by_rank[i % world].at(i / world));
    return all;
  }

  /// The partitions of this rank; a shuffle is rank 0's alone.
  void choose(const std::vector<std::uint64_t>& partition_rows, DatasetWriter::Plan& plan) {
    const std::uint64_t count = partition_rows.size();
    plan.first = static_cast<std::uint32_t>(rank * count / world);
    plan.last = static_cast<std::uint32_t>((rank + 1) * count / world);
    if (options.shuffle_seed) {
      plan.first = 0;
      plan.last = rank == 0 ? static_cast<std::uint32_t>(count) : 0;
    }
    const auto rows_in = std::span(partition_rows);
    wanted.first = sum(rows_in.first(plan.first));
    wanted.last = wanted.first + sum(rows_in.subspan(plan.first, plan.last - plan.first));
  }
};

Ingest::Ingest(IngestOptions options, std::size_t rank, std::size_t world) {
  if (!options.append) refuse_existing_dataset(options.out);
  state_ = std::make_unique<State>(std::move(options), rank, world);
  State& s = *state_;
  if (s.options.shuffle_seed && s.spec.contract().has_windows())
    fail(ErrorCode::kUsage,
         "--shuffle would tear the stream of tokens apart, as its rows are windows: training shuffles those");
  if (rank == 0) {
    make_posix_file_system()->make_directories(s.options.out);
    s.lock.emplace(s.options.out / ".ingest.lock", "another `muster ingest` is writing there");
  }
  std::vector<std::vector<std::filesystem::path>> files;
  for (std::size_t i = rank; i < s.spec.sources().size(); i += world) {
    s.spec.open(i);
    const RowSource& source = *s.spec.sources()[i].rows;
    s.counted.push_back(source.rows());
    files.push_back(source.files());
    for (const std::filesystem::path& file : files.back()) s.stamps.push_back(stamp_of(file));
  }
  s.hashes =
      std::async(std::launch::async, [files, base = std::filesystem::absolute(s.options.spec).parent_path()] {
        std::vector<std::vector<SourceFile>> hashed;
        for (const auto& of_source : files) hashed.push_back(hash_sources(of_source, base));
        return hashed;
      });
}

Ingest::~Ingest() = default;

std::vector<std::uint64_t> Ingest::counted() const { return state_->counted; }

void Ingest::plan(std::span<const std::vector<std::uint64_t>> counted) {
  State& s = *state_;
  const std::vector<std::uint64_t> rows_of_source = s.rows_of_source(counted);
  const std::vector<std::uint64_t> partition_rows = s.spec.partition_rows(rows_of_source);
  if (s.options.append) s.existing = existing_dataset(s.options.out, s.spec.contract(), s.options.probe);
  DatasetWriter::Plan plan{s.options.out, s.spec.contract_yaml(), s.spec.contract(), sum(rows_of_source)};
  plan.partitions = static_cast<std::uint32_t>(partition_rows.size());
  plan.partition_rows = partition_rows;
  plan.codec = s.options.codec;
  plan.existing_partitions = s.existing.partitions;
  plan.block_rows = s.existing.block_rows;
  s.choose(partition_rows, plan);
  s.report = {s.existing.rows, plan.rows, s.spec.contract().has_windows(), plan.partitions,
              plan.rows * bytes_per_row(s.spec.stored())};
  s.rows.emplace(s.spec, rows_of_source, s.existing.rows);
  s.rows->prepare(s.wanted);
  s.writer.emplace(std::move(plan));
}

void Ingest::write() {
  State& s = *state_;
  if (s.rank == 0 && !s.existing.records.empty())
    save_sources(*make_posix_file_system(), s.options.out, s.existing.records);
  const auto write = [&](const Columns& columns, std::uint64_t rows) { s.writer->append(columns, rows); };
  const std::vector<Field>& fields = s.spec.stored();
  if (s.options.shuffle_seed && s.rank == 0) {
    RowShuffle shuffle(s.options.out / "shuffle.tmp", s.report.rows, bytes_per_row(fields),
                       *s.options.shuffle_seed);
    s.rows->read(s.wanted, s.writer->rows_at_once(), [&](const Columns& columns, std::uint64_t rows) {
      add_records(shuffle, fields, columns, rows);
    });
    take_records(shuffle, fields, write);
  } else {
    s.rows->read(s.wanted, s.writer->rows_at_once(), write);
  }
  s.writer->close();
}

std::string Ingest::sources() const {
  std::vector<IngestRecord> mine;
  for (std::vector<SourceFile>& files : state_->hashes.get())
    mine.push_back({state_->counted[mine.size()], {}, std::move(files)});
  for (const SourceStamp& stamp : state_->stamps) {
    if (stamp_of(stamp.file) == stamp) continue;
    throw Error(ErrorCode::kData, "changed while it was read: nothing was made of it", stamp.file.string());
  }
  return sources_to_json(mine).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Ingest::publish(std::span<const std::string> sources) {
  State& s = *state_;
  std::vector<std::vector<IngestRecord>> by_rank;
  for (const std::string& text : sources)
    by_rank.push_back(sources_from_json(parse_json(text, "sources"), "sources"));
  IngestRecord made{s.report.rows, s.writer->partition_names(), {}};
  std::vector<SourceFile> with_rows;
  for (std::size_t i = 0; i < s.spec.sources().size(); ++i) {
    IngestRecord& source = by_rank[i % s.world].at(i / s.world);
    if (source.rows > 0) with_rows.insert(with_rows.end(), source.files.begin(), source.files.end());
    for (SourceFile& file : source.files) {
      const auto same = [&](const SourceFile& other) {
        return other.name == file.name && other.content == file.content;
      };
      if (std::ranges::none_of(made.files, same)) made.files.push_back(std::move(file));
    }
  }
  if (!s.options.again) refuse_known(s.existing.records, with_rows, s.options.out);
  std::vector<IngestRecord> records = s.existing.records;
  records.push_back(std::move(made));
  s.writer->publish([&] { save_sources(*make_posix_file_system(), s.options.out, records); });
}

IngestReport Ingest::published() {
  State& s = *state_;
  s.writer->release();
  s.options.log(LogLevel::kInfo,
                fmt::format("ingested {} {} ({}) into {} partitions: {}", human_count(s.report.rows),
                            s.report.tokens ? "tokens" : "rows", human_bytes(s.report.bytes),
                            human_count(s.report.partitions), s.options.out.string()));
  return s.report;
}

IngestReport ingest(const IngestOptions& options) {
  Ingest alone(options, 0, 1);
  const std::vector<std::uint64_t> counted = alone.counted();
  alone.plan(std::span(&counted, 1));
  alone.write();
  const std::string sources = alone.sources();
  alone.publish(std::span(&sources, 1));
  return alone.published();
}

}  // namespace muster
