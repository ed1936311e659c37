#include "data_loader/ingest/draft_sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "core/hash.h"
#include "core/text.h"
#include "data_loader/contract/field_summary.h"
#include "data_loader/contract/text_encoding.h"
#include "data_loader/ingest/draft_hdf5.h"
#include "data_loader/ingest/gzip_file.h"
#include "data_loader/reading/partition_list.h"
#include "data_loader/reading/probe.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSampleRecords = 200;
/// Of texts that are no UTF-8.
constexpr const char* kOtherEncoding = "windows-1252";

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

/// A cell alone.
ColumnEvidence evidence_of(const std::string& cell, char decimal) {
  CellRules rules;
  rules.number.decimal = decimal;
  ColumnEvidence one("", 1, rules);
  one.add(cell);
  return one;
}

bool reads_as_value(const std::string& cell, char decimal) {
  const ColumnEvidence one = evidence_of(cell, decimal);
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

/// ',' where that makes numbers of more cells of the sample than '.'. Where commas do not cut records those
/// count first that need no separator of thousands: "1,234" is taken for less than two there.
char find_decimal(const std::vector<Record>& records, char delimiter) {
  const auto count = [&](char decimal) {
    std::pair<std::size_t, std::size_t> numbers;
    for (const Record& record : records) {
      for (const std::string& cell : record) {
        const ColumnEvidence one = evidence_of(cell, decimal);
        numbers.first += delimiter == ',' ? 0 : one.numbers() - one.styled();
        numbers.second += one.numbers();
      }
    }
    return numbers;
  };
  return count(',') > count('.') ? ',' : '.';
}

/// No text in which delimiters and quotes are bytes has zero bytes; other files nearly always do, and early.
void refuse_binary(const fs::path& path) {
  std::array<std::byte, 65536> start{};
  GzipFile file(path);
  const auto read = std::span(start).first(file.read(start));
  if (std::ranges::find(read, std::byte{0}) != read.end())
    throw Error(ErrorCode::kData, "holds zero bytes: is it a CSV file? (convert UTF-16 to UTF-8)",
                path.string());
}

CsvLayout find_layout(const fs::path& path) {
  refuse_binary(path);
  CsvLayout layout;
  layout.dialect = find_dialect(path);
  const auto records = first_records(path, layout.dialect);
  layout.decimal = find_decimal(records, layout.dialect.delimiter);
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
      note_thousands(draft.fields.back());
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
  /// The first column that has a separator gives it to the file.
  void note_thousands(DraftField& drafted) {
    const std::string& its = drafted.number_style.thousands;
    if (layout_.thousands.empty()) layout_.thousands = its;
    if (its.empty() || its == layout_.thousands) return;
    drafted.notes.push_back(
        fmt::format("DECIDE its separator of thousands is {}, that of others {}, and a source has one",
                    readable_text(its), readable_text(layout_.thousands)));
  }

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
          fmt::format("DECIDE {} of {} rows repeat an earlier row in every column: are they meant? "
                      "`repeated: bad, bad_rows: skip` in the spec leaves them out",
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
    rules.number.decimal = layout_.decimal;
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
    drafted = draft_hdf5(options, std::move(layouts));
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
  std::string name = drafted.draft.fields[i].column;
  if (!drafted.csv->utf8) name = TextEncoding(kOtherEncoding).to_utf8(name).value_or(name);
  const auto same = [&](const DraftField& other) { return other.column == drafted.draft.fields[i].column; };
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
  text += "  - format: csv\n";
  if (files.size() == 1) text += fmt::format("    file: {}\n", Json(files.front().string()).dump());
  if (files.size() > 1) text += "    files:   # read in the order of their paths; * and ? match names\n";
  for (std::size_t i = 0; files.size() > 1 && i < files.size(); ++i)
    text += fmt::format("      - {}\n", Json(literal_pattern(files[i])).dump());
  if (layout.dialect.delimiter != ',')
    text += fmt::format("    delimiter: {}\n", layout.dialect.delimiter == '\t'
                                                   ? "tab"
                                                   : Json(std::string(1, layout.dialect.delimiter)).dump());
  if (layout.decimal != '.') text += "    decimal: \",\"\n";
  if (!layout.thousands.empty()) text += fmt::format("    thousands: {}\n", Json(layout.thousands).dump());
  if (!layout.header) text += "    header: false\n";
  if (!layout.utf8)
    text += fmt::format("    encoding: {}   # DECIDE no UTF-8; this one is the most usual other\n",
                        kOtherEncoding);
  text +=
      "    missing: [\"\", NA, N/A, n/a, \"#N/A\", <NA>, NaN, nan, \"NULL\", \"null\"]   # texts that mean: "
      "no value\n";
  text += "    bad_rows: refuse   # or skip\n";
  if (!columns.empty()) text += "    columns:\n" + columns;
  const auto by_field = [&](const char* key, auto&& value_of) {
    std::vector<std::string> entries;
    for (const DraftField& drawn : drafted.draft.fields) {
      if (const std::string value = value_of(drawn); !value.empty())
        entries.push_back(fmt::format("{}: {}", drawn.field.name, Json(value).dump()));
    }
    if (!entries.empty()) text += fmt::format("    {}: {{{}}}\n", key, join(entries, ", "));
  };
  by_field("units", [](const DraftField& drawn) { return drawn.number_style.unit; });
  by_field("time_format", [](const DraftField& drawn) { return drawn.time_format; });
  const std::uint64_t partitions = std::clamp<std::uint64_t>(drafted.draft.rows / 100'000, 4, 64);
  return text + fmt::format("partitions: {}\ncontract: {}\n", partitions, Json(contract).dump());
}

}  // namespace muster
