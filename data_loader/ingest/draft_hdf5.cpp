#include "data_loader/ingest/draft_hdf5.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/text.h"
#include "data_loader/contract/field_summary.h"
#include "data_loader/reading/partition_list.h"
#include "data_loader/writing/table_writer.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostHdf5Rows = 1'000'000;

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
    const auto fields = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::ranges::count_if(layouts_.front(), is_field)));
    for (const DatasetLayout& layout : layouts_.front()) {
      if (const std::string why = usable(layout, rows); !why.empty()) {
        draft.notes.push_back(fmt::format("{}: {}, left out", readable_text(layout.location()), why));
        continue;
      }
      draft.fields.push_back(draft_dataset(layout, draft.fields, options_.memory / 16 / fields));
    }
    if (draft.fields.empty())
      throw Error(
          ErrorCode::kData,
          "has no dataset that could be a field" + (draft.notes.empty() ? "" : ": " + draft.notes.front()),
          options_.files.front().string());
    count_rows(draft);
    for (const fs::path& file : options_.files)
      draft.partitions.push_back(literal_pattern(fs::absolute(file)));
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

}  // namespace

Drafted draft_hdf5(const DraftOptions& options, std::vector<std::vector<DatasetLayout>> layouts) {
  return Hdf5Draft(options, std::move(layouts)).draft();
}

}  // namespace muster
