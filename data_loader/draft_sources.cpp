#include "data_loader/draft_sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "core/hash.h"
#include "core/text.h"
#include "data_loader/field_summary.h"
#include "data_loader/gzip_file.h"
#include "data_loader/partition_file.h"
#include "data_loader/probe.h"
#include "data_loader/table_writer.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSampleRecords = 200;
constexpr std::uint64_t kMostHdf5Rows = 1'000'000;

using Record = std::vector<std::string>;

CsvReader open_csv(GzipFile& file, const CsvDialect& dialect) {
  return CsvReader([&file](std::span<std::byte> out) { return file.read(out); }, dialect);
}

std::vector<Record> first_records(const fs::path& path, const CsvDialect& dialect) {
  GzipFile file(path);
  CsvReader reader = open_csv(file, dialect);
  std::vector<Record> records;
  while (records.size() < kSampleRecords && reader.next()) {
    if (reader.fault().empty()) records.emplace_back(reader.fields().begin(), reader.fields().end());
  }
  return records;
}

/// The delimiter that cuts the most of the first records into the same number of fields, at least two.
CsvDialect find_dialect(const fs::path& path) {
  CsvDialect best;
  std::size_t best_score = 0;
  for (const char delimiter : {',', ';', '\t', '|'}) {
    CsvDialect dialect;
    dialect.delimiter = delimiter;
    std::map<std::size_t, std::size_t> widths;
    for (const Record& record : first_records(path, dialect)) ++widths[record.size()];
    for (const auto& [width, count] : widths) {
      const std::size_t score = width < 2 ? 0 : count * 1000 + std::min<std::size_t>(width, 999);
      if (score <= best_score) continue;
      best_score = score;
      best = dialect;
    }
  }
  return best;
}

bool reads_as_value(const std::string& cell, char decimal) {
  CellRules rules;
  rules.decimal = decimal;
  ColumnEvidence one("", 1, rules);
  one.add(cell);
  return one.numbers() + one.times() > 0;
}

/// A header names columns: no cell of it is a number or a date, or it stands above a column of such.
bool has_header(const std::vector<Record>& records, char decimal) {
  if (records.empty()) return true;
  const Record& first = records.front();
  if (std::ranges::none_of(first, [&](const auto& cell) { return reads_as_value(cell, decimal); }))
    return true;
  const std::vector<std::string> markers = CellRules().missing;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const bool missing = std::ranges::find(markers, trim(first[i])) != markers.end();
    if (missing || reads_as_value(first[i], decimal)) continue;
    std::size_t values = 0;
    for (const Record& record : records)
      values += i < record.size() && reads_as_value(record[i], decimal) ? 1 : 0;
    if (10 * values >= 9 * (records.size() - 1) && values > 0) return true;
  }
  return false;
}

/// ',' where that makes numbers of more cells of the sample than '.'.
char find_decimal(const std::vector<Record>& records) {
  std::array<std::size_t, 2> numbers{};
  for (const Record& record : records) {
    for (const std::string& cell : record) {
      numbers[0] += reads_as_value(cell, '.') ? 1 : 0;
      numbers[1] += reads_as_value(cell, ',') ? 1 : 0;
    }
  }
  return numbers[1] > numbers[0] ? ',' : '.';
}

CsvLayout find_layout(const fs::path& path) {
  CsvLayout layout;
  layout.dialect = find_dialect(path);
  const auto records = first_records(path, layout.dialect);
  layout.decimal = layout.dialect.delimiter == ',' ? '.' : find_decimal(records);
  layout.header = has_header(records, layout.decimal);
  return layout;
}

/// All CSV files, record by record.
class CsvDraft {
 public:
  explicit CsvDraft(const DraftOptions& options)
      : options_(options), layout_(find_layout(options.files.front())), repeated_(1) {}

  Drafted draft() {
    for (const fs::path& file : options_.files) read(file);
    if (rows_ == 0) throw Error(ErrorCode::kData, "has no rows", options_.files.front().string());
    Drafted drafted{{}, layout_};
    ContractDraft& draft = drafted.draft;
    draft.rows = rows_;
    for (ColumnEvidence& column : columns_) {
      layout_.utf8 =
          layout_.utf8 && column.valid_utf8() && utf8_prefix(column.name()) == column.name().size();
      draft.fields.push_back(draft_field(column, field_name(column.name(), draft.fields), std::nullopt, 0));
      if (draft.fields.back().field.role != Role::kTime || draft.time) continue;
      draft.time = draft.fields.size() - 1;
      draft.in_time_order = column.ascends();
    }
    keep_one_time(draft);
    note_rows(draft);
    drafted.csv = layout_;
    return drafted;
  }

 private:
  /// A contract has one time; the others are inputs by their dates.
  static void keep_one_time(ContractDraft& draft) {
    for (std::size_t i = 0; i < draft.fields.size(); ++i) {
      if (draft.fields[i].field.role != Role::kTime || draft.time == i) continue;
      draft.fields[i].field.role = Role::kKey;
      draft.fields[i].notes.emplace_back(
          "DECIDE a second time: a contract has one; kept as a key, so that no model sees it");
    }
  }

  void note_rows(ContractDraft& draft) {
    if (layout_.wrong_records > 0)
      draft.notes.push_back(
          fmt::format("DECIDE {} records have another number of fields or a broken quote: ingest refuses "
                      "them, or `bad_rows: skip`",
                      human_count(layout_.wrong_records)));
    const std::size_t distinct = repeated_.count();
    if (repeated_.too_many()) {
      draft.notes.push_back(
          fmt::format("more than {} different rows: whether some are there twice was not looked at",
                      human_count(repeated_.most())));
    } else if (distinct < rows_) {
      draft.notes.push_back(
          fmt::format("DECIDE {} of {} rows repeat an earlier row in every column: are they meant?",
                      human_count(rows_ - distinct), human_count(rows_)));
    }
  }

  void name_columns(const fs::path& path, std::span<const std::string_view> cells) {
    const auto is_control = [](char c) {
      return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t';
    };
    for (const std::string_view cell : cells) {
      if (std::ranges::any_of(cell, is_control))
        throw Error(ErrorCode::kData, "its first line is no text: is it a CSV file?", path.string());
    }
    CellRules rules;
    rules.decimal = layout_.decimal;
    const std::uint64_t each = options_.memory / 16 / (cells.size() + 1);
    repeated_ = DistinctHashes(each);
    for (std::size_t i = 0; i < cells.size(); ++i)
      columns_.emplace_back(layout_.header ? std::string(trim(cells[i])) : fmt::format("column {}", i + 1),
                            each, rules);
  }

  void check_header(const fs::path& path, std::span<const std::string_view> cells) const {
    bool same = cells.size() == columns_.size();
    for (std::size_t i = 0; same && i < cells.size(); ++i) same = trim(cells[i]) == columns_[i].name();
    if (!same)
      throw Error(ErrorCode::kData, "has other columns than " + options_.files.front().string(),
                  path.string());
  }

  void read(const fs::path& path) {
    GzipFile file(path);
    CsvReader reader = open_csv(file, layout_.dialect);
    bool first = true;
    while (reader.next()) {
      const bool head = first;
      first = false;
      if (!reader.fault().empty()) {
        ++layout_.wrong_records;
        continue;
      }
      if (head && columns_.empty()) name_columns(path, reader.fields());
      if (head && layout_.header) {
        check_header(path, reader.fields());
        continue;
      }
      add(reader.fields());
    }
    if (first) throw Error(ErrorCode::kData, "is empty", path.string());
  }

  void add(std::span<const std::string_view> cells) {
    if (cells.size() != columns_.size()) {
      ++layout_.wrong_records;
      return;
    }
    ++rows_;
    std::uint64_t hash = kFnvStart;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      columns_[i].add(cells[i]);
      constexpr std::array<std::byte, 1> kEnd{std::byte{0xff}};  // never in UTF-8: "a","b" is not "ab",""
      hash = fnv1a(kEnd, fnv1a(std::as_bytes(std::span(cells[i].data(), cells[i].size())), hash));
    }
    repeated_.add(hash);
  }

  const DraftOptions& options_;
  CsvLayout layout_;
  std::vector<ColumnEvidence> columns_;
  DistinctHashes repeated_;
  std::uint64_t rows_ = 0;
};

/// The datasets of HDF5 files that could be fields: the same paths in all of them.
class Hdf5Draft {
 public:
  Hdf5Draft(const DraftOptions& options, std::vector<std::vector<DatasetLayout>> layouts)
      : options_(options), layouts_(std::move(layouts)) {}

  Drafted draft() {
    Drafted drafted;
    ContractDraft& draft = drafted.draft;
    const std::uint64_t rows = most_common_rows();
    const auto is_field = [rows](const DatasetLayout& layout) { return usable(layout, rows).empty(); };
    const auto fields = static_cast<std::uint64_t>(std::ranges::count_if(layouts_.front(), is_field));
    for (const DatasetLayout& layout : layouts_.front()) {
      if (const std::string why = usable(layout, rows); !why.empty()) {
        draft.notes.push_back(fmt::format("{}: {}, left out", readable_text(layout.location()), why));
        continue;
      }
      draft.fields.push_back(draft_dataset(layout, draft.fields, options_.memory / 16 / fields));
    }
    if (draft.fields.empty())
      throw Error(ErrorCode::kData, "has no dataset that could be a field", options_.files.front().string());
    count_rows(draft);
    for (const fs::path& file : options_.files) draft.partitions.push_back(fs::absolute(file).string());
    if (draft.rows > kMostHdf5Rows)
      draft.notes.push_back(fmt::format("Looked at: about {} of these rows, from the start of each file.",
                                        human_count(kMostHdf5Rows)));
    return drafted;
  }

 private:
  /// The first extent that most datasets have: the rows.
  std::uint64_t most_common_rows() const {
    std::map<std::uint64_t, std::size_t> counts;
    for (const DatasetLayout& layout : layouts_.front()) {
      if (layout.dtype && !layout.single && !layout.shape.empty()) ++counts[layout.shape[0]];
    }
    std::uint64_t rows = 0;
    std::size_t most = 0;
    for (const auto& [extent, count] : counts) {
      if (count < most) continue;
      most = count;
      rows = extent;
    }
    return rows;
  }

  /// Over all files, which must have every field as the first one has it.
  void count_rows(ContractDraft& draft) const {
    for (const fs::path& path : options_.files) {
      PartitionFile file(path);
      std::uint64_t rows = 0;
      for (const DraftField& field : draft.fields) rows = file.check_field(field.field);
      draft.rows += rows;
    }
  }

  static std::string usable(const DatasetLayout& layout, std::uint64_t rows) {
    const std::string location = layout.location();
    if (utf8_prefix(location) != location.size()) return "a name that is no UTF-8";
    if (!layout.refusal.empty()) return layout.refusal;
    if (!layout.dtype) return "of type " + layout.type_name;
    if (layout.single || layout.shape.empty()) return "a single value";
    if (layout.dtype == DType::kString && layout.shape.size() > 1) return "several texts per row";
    if (layout.shape[0] != rows || rows == 0)
      return fmt::format("{} rows where others have {}", human_count(layout.shape[0]), human_count(rows));
    return "";
  }

  DraftField draft_dataset(const DatasetLayout& layout, const std::vector<DraftField>& taken,
                           std::size_t most) {
    Field field;
    field.path = layout.path;
    field.member = layout.member;
    field.dtype = *layout.dtype;
    field.length = layout.text_bytes;
    field.shape.assign(layout.shape.begin() + 1, layout.shape.end());
    const std::string name = field_name(layout.location(), taken);
    field.name = name;
    if (field.is_text() && field.length == 0) field.length = 65536;
    DraftField draft;
    if (field.shape.empty()) {
      CellRules rules;
      rules.missing = {""};  // no text stands for a missing one here, and a NaN is written as nothing
      ColumnEvidence evidence(layout.location(), most, rules);
      for (const fs::path& file : options_.files) read(file, field, evidence);
      draft = draft_field(evidence, name, field.dtype, layout.text_bytes);
    } else {
      draft.field = std::move(field);
    }
    draft.field.path = layout.path;
    draft.field.member = layout.member;
    return draft;
  }

  /// At most kMostHdf5Rows over all files, from the start of each.
  void read(const fs::path& path, const Field& field, ColumnEvidence& evidence) const {
    PartitionFile file(path);
    const std::uint64_t rows = std::min(file.check_field(field), kMostHdf5Rows / options_.files.size() + 1);
    const std::uint64_t piece = std::max<std::uint64_t>(1, (std::uint64_t{1} << 22) / field.bytes_per_row());
    std::vector<std::byte> column;
    for (std::uint64_t first = 0; first < rows; first += piece) {
      const std::uint64_t count = std::min(piece, rows - first);
      column.resize(count * field.bytes_per_row());
      file.read_rows(field, first, count, column);
      for (std::uint64_t row = 0; row < count; ++row)
        evidence.add(field.is_text() ? std::string(text_at(field, column, row))
                                     : csv_cell(field, column.data() + row * field.bytes_per_row()));
    }
  }

  const DraftOptions& options_;
  std::vector<std::vector<DatasetLayout>> layouts_;
};

bool is_hdf5(const fs::path& path) {
  std::array<std::byte, 8> start{};
  GzipFile file(path);
  constexpr std::string_view kMagic = "\x89HDF\r\n\x1a\n";
  return file.read(start) == start.size() &&
         std::equal(start.begin(), start.end(), std::as_bytes(std::span(kMagic)).begin());
}

}  // namespace

Drafted draft_contract(const DraftOptions& options) {
  ensure(!options.files.empty(), "a draft of no files");
  Drafted drafted;
  const bool hdf5 = is_hdf5(options.files.front());
  for (const fs::path& file : options.files) {
    if (is_hdf5(file) != hdf5)
      throw Error(ErrorCode::kData, "is not of the same kind as " + options.files.front().string(),
                  file.string());
  }
  if (hdf5) {
    std::vector<std::vector<DatasetLayout>> layouts;
    for (auto& probed : probe_files(options.probe, options.files))
      layouts.push_back(std::move(probed).value());
    drafted = Hdf5Draft(options, std::move(layouts)).draft();
  } else {
    drafted = CsvDraft(options).draft();
  }
  for (const fs::path& file : options.files) {
    if (drafted.draft.sources.size() < 3)
      drafted.draft.sources.push_back(readable_text(file.filename().string()));
  }
  if (options.files.size() > 3)
    drafted.draft.sources.push_back(fmt::format("… ({} files)", options.files.size()));
  return drafted;
}

namespace {

/// How the spec names a column: by its name where that finds it, else by its number.
std::string column_text(const Drafted& drafted, std::size_t i) {
  const std::string& name = drafted.draft.fields[i].column;
  const auto same = [&](const DraftField& other) { return other.column == name; };
  const bool found = drafted.csv->header && !name.empty() && utf8_prefix(name) == name.size() &&
                     std::ranges::count_if(drafted.draft.fields, same) == 1;
  return found ? Json(name).dump() : std::to_string(i + 1);
}

}  // namespace

std::string ingest_text(const Drafted& drafted, const std::vector<fs::path>& files,
                        const std::string& contract) {
  const CsvLayout& layout = drafted.csv.value();
  std::string columns;
  for (std::size_t i = 0; i < drafted.draft.fields.size(); ++i) {
    const std::string& name = drafted.draft.fields[i].field.name;
    const std::string column = column_text(drafted, i);
    if (column != Json(name).dump()) columns += fmt::format("      {}: {}\n", name, column);
  }
  std::string text =
      "# Drafted by `muster contract init`: how the files are read (docs/ingest.md).\nversion: 1\nsources:\n";
  for (const fs::path& file : files) {
    text += fmt::format("  - format: csv\n    file: {}\n", Json(file.string()).dump());
    if (layout.dialect.delimiter != ',')
      text += fmt::format("    delimiter: {}\n", layout.dialect.delimiter == '\t'
                                                     ? "tab"
                                                     : Json(std::string(1, layout.dialect.delimiter)).dump());
    if (layout.decimal != '.') text += "    decimal: \",\"\n";
    if (!layout.header) text += "    header: false\n";
    if (!layout.utf8)
      text += "    encoding: windows-1252   # DECIDE no UTF-8; this one is the most usual other\n";
    text += "    missing: [\"\", NA, N/A, NaN, nan, \"NULL\", \"null\"]   # texts that mean: no value\n";
    text += "    bad_rows: refuse   # or skip\n";
    if (!columns.empty()) text += "    columns:\n" + columns;
  }
  const std::uint64_t partitions = std::clamp<std::uint64_t>(drafted.draft.rows / 100'000, 4, 64);
  return text + fmt::format("partitions: {}\ncontract: {}\n", partitions, Json(contract).dump());
}

}  // namespace muster
