#include "data_loader/dataset/partition_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "data_loader/reading/partition_file.h"
#include "data_loader/reading/partition_list.h"
#include "data_loader/reading/probe.h"

namespace muster {

namespace {

namespace fs = std::filesystem;

/// Chunks outside these bounds make poor blocks.
constexpr std::uint64_t kLeastChunkRows = 16;
constexpr std::uint64_t kMostChunkRows = 65536;

/// Whether a field reads this. Contracts spell paths without a leading '/'.
bool is_of(const Field& field, const DatasetLayout& layout) {
  const std::size_t start = std::min(layout.path.find_first_not_of('/'), layout.path.size());
  return std::string_view(layout.path).substr(start) == field.path && layout.member == field.member;
}

class Surveyor {
 public:
  Surveyor(const Contract& contract, const ValidateOptions& options)
      : contract_(contract), options_(options), survey_{{}, {}, FaultList(options.max_faults), {}, {}} {}

  PartitionSurvey run(const fs::path& root) && {
    for (const ListedPartition& listed : safe_files(list_partitions(contract_, root))) {
      try {
        open(listed);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kData) throw;
        survey_.faults.add(error);
      }
    }
    if (survey_.faults.empty()) choose_block_rows_of_all(root);
    return std::move(survey_);
  }

 private:
  /// The files that a child could open; the others become faults.
  std::vector<ListedPartition> safe_files(const std::vector<ListedPartition>& listed) {
    if (options_.probe.empty()) return listed;
    std::vector<fs::path> files;
    for (const ListedPartition& partition : listed) files.push_back(partition.file);
    const auto probed = probe_files(options_.probe, files);
    std::vector<ListedPartition> safe;
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (probed[i].ok()) {
        safe.push_back(listed[i]);
      } else if (probed[i].error().code() == ErrorCode::kData) {
        survey_.faults.add(probed[i].error());
      } else {
        throw probed[i].error();
      }
    }
    return safe;
  }

  void open(const ListedPartition& listed) {
    const fs::path& path = listed.file;
    PartitionFile file(path);
    Partition partition;
    partition.name = listed.name;
    partition.path = listed.path;
    partition.rows = check_fields(file);
    const std::vector<DatasetLayout> layouts = file.layouts();
    note_unknown(layouts, path);
    note_left_over(layouts, path);
    partition.block_rows = options_.block_rows > 0 ? options_.block_rows : chunk_rows(layouts);
    survey_.partitions.push_back(std::move(partition));
    survey_.files.push_back(path);
  }

  /// Checks every field's type and shape, and that all have as many rows as most of them; returns these rows.
  std::uint64_t check_fields(PartitionFile& file) {
    const std::vector<Field>& fields = contract_.fields();
    std::vector<std::pair<const Field*, std::uint64_t>> rows;
    std::map<std::uint64_t, std::size_t> votes;
    for (const Field& field : fields) {
      const Result<std::uint64_t> checked = attempt([&] { return file.check_field(field); });
      if (checked.ok()) {
        rows.emplace_back(&field, checked.value());
        ++votes[checked.value()];
      } else if (checked.error().code() == ErrorCode::kData) {
        survey_.faults.add(checked.error());
      } else {
        throw checked.error();
      }
    }
    if (votes.empty()) return 0;
    const std::uint64_t most = std::max_element(votes.begin(), votes.end(), [](auto& a, auto& b) {
                                 return a.second < b.second;
                               })->first;
    for (const auto& [field, count] : rows) {
      if (count == most) continue;
      survey_.faults.add(Error(ErrorCode::kData,
                               fmt::format("has {} rows, other fields have {}", count, most),
                               fmt::format("{}:{}", file.path().string(), field->location())));
    }
    return most;
  }

  void note_unknown(const std::vector<DatasetLayout>& layouts, const fs::path& path) {
    for (const DatasetLayout& layout : layouts) {
      const auto& fields = contract_.fields();
      if (std::ranges::any_of(fields, [&](const Field& field) { return is_of(field, layout); })) continue;
      const std::string name = layout.location();
      if (!unknown_.insert(name).second) continue;
      survey_.warnings.push_back(fmt::format(
          "{}:{}: is no field of the contract; ignored, here and in other partitions", path.string(), name));
    }
  }

  void note_left_over(const std::vector<DatasetLayout>& layouts, const fs::path& path) {
    for (const DatasetLayout& layout : layouts) {
      for (const Field& field : contract_.fields()) {
        if (!field.window || !is_of(field, layout) || layout.shape.empty()) continue;
        const std::uint64_t tokens = layout.shape.front();
        survey_.tokens_left_over[field.name] += field.window->left_over(tokens);
        if (field.window->rows(tokens) > 0) continue;
        survey_.warnings.push_back(fmt::format("{}:{}: has {} tokens, too few for a window of {}",
                                               path.string(), field.location(), tokens,
                                               field.window->width()));
      }
    }
  }

  /// Rows of the widest field's chunk (of tokens: windows that start in one), or 0 if they would make a poor
  /// block.
  std::uint32_t chunk_rows(const std::vector<DatasetLayout>& layouts) const {
    const auto& fields = contract_.fields();
    const auto widest = std::max_element(fields.begin(), fields.end(), [](const Field& a, const Field& b) {
      return a.bytes_per_row() < b.bytes_per_row();
    });
    for (const DatasetLayout& layout : layouts) {
      if (!is_of(*widest, layout) || layout.chunk.empty()) continue;
      const std::uint64_t rows = layout.chunk.front() / (widest->window ? widest->window->stride : 1);
      if (rows >= kLeastChunkRows && rows <= kMostChunkRows) return static_cast<std::uint32_t>(rows);
    }
    return 0;
  }

  void choose_block_rows_of_all(const fs::path& root) {
    std::uint64_t rows = 0;
    for (const Partition& partition : survey_.partitions) rows += partition.rows;
    if (rows == 0) throw Error(ErrorCode::kData, "the dataset has no rows", root.string());
    std::uint64_t bytes_per_row = 0;
    for (const Field& field : contract_.fields()) bytes_per_row += field.bytes_per_row();
    for (Partition& partition : survey_.partitions) {
      if (partition.block_rows == 0) partition.block_rows = choose_block_rows(rows, bytes_per_row);
    }
  }

  const Contract& contract_;
  const ValidateOptions& options_;
  std::set<std::string> unknown_;
  PartitionSurvey survey_;
};

}  // namespace

PartitionSurvey survey_partitions(const Contract& contract, const fs::path& root,
                                  const ValidateOptions& options) {
  return Surveyor(contract, options).run(root);
}

}  // namespace muster
