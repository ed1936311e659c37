#include "data_loader/writing/append.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/text.h"
#include "data_loader/reading/partition_file.h"
#include "data_loader/reading/probe.h"
#include "data_loader/writing/dataset_writer.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

void refuse_other_contract(const fs::path& directory, const Contract& contract) {
  const Contract there = Contract::load(directory / "contract.yaml");
  if (there.hash() == contract.hash()) return;
  throw Error(ErrorCode::kUsage,
              "has another contract than the spec: `muster contract diff` says what differs; ingest into "
              "another directory, or make them the same",
              directory.string());
}

/// Partitions that no finished ingest made.
void refuse_left_over(const fs::path& directory, const std::vector<std::string>& partitions,
                      const std::vector<IngestRecord>& records) {
  if (records.empty()) return;
  std::set<std::string> recorded;
  for (const IngestRecord& record : records)
    recorded.insert(record.partitions.begin(), record.partitions.end());
  for (const std::string& name : partitions) {
    if (recorded.contains(name)) continue;
    throw Error(ErrorCode::kUsage, "was left by an ingest that did not finish: remove it",
                (directory / name).string());
  }
}

std::uint32_t number_after(const std::string& name) {
  return 1 + static_cast<std::uint32_t>(std::stoul(name.substr(5, 5)));
}

}  // namespace

ExistingDataset existing_dataset(const fs::path& directory, const Contract& contract, const fs::path& probe) {
  ExistingDataset existing;
  const auto files = make_posix_file_system();
  std::vector<std::string> names;
  for (const std::string& name : files->list(directory)) {
    if (is_partition_name(name)) names.push_back(name);
    if (is_unpublished(name)) files->remove_all(directory / name);
  }
  if (!files->exists(directory / "contract.yaml")) {
    refuse_existing_dataset(directory);
    return existing;
  }
  refuse_other_contract(directory, contract);
  std::ranges::sort(names);
  existing.records = load_sources(*files, directory);
  refuse_left_over(directory, names, existing.records);
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(directory / name);
  if (!probe.empty()) {
    for (const auto& answer : probe_files(probe, paths)) {
      if (!answer.ok()) throw answer.error();
    }
  }
  const Field field = contract.stored_fields().front();
  for (const fs::path& path : paths) {
    PartitionFile file(path);
    existing.rows += file.check_field(field);
    const std::vector<std::uint64_t> chunk = file.layout(field.path, {}).chunk;
    if (existing.block_rows == 0 && !chunk.empty())
      existing.block_rows = static_cast<std::uint32_t>(chunk.front());
  }
  if (!names.empty()) existing.partitions = number_after(names.back());
  std::uint64_t recorded_rows = 0;  // partitions that were taken away keep their numbers, and rows theirs
  for (const IngestRecord& record : existing.records) {
    recorded_rows += record.rows;
    for (const std::string& name : record.partitions) {
      if (is_partition_name(name)) existing.partitions = std::max(existing.partitions, number_after(name));
    }
  }
  existing.rows = std::max(existing.rows, recorded_rows);
  if (existing.records.empty() && !names.empty()) existing.records.push_back({existing.rows, names, {}});
  return existing;
}

}  // namespace muster
