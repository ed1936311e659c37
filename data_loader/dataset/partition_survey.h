#pragma once
// The first pass of validate: finds the partitions of a folder, lets a child open them, checks their layout.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/dataset/fault_list.h"
#include "data_loader/dataset/validate.h"
#include "data_loader/manifest/manifest.h"

namespace muster {

struct PartitionSurvey {
  std::vector<Partition> partitions;         ///< in name order, without their content hash
  std::vector<std::filesystem::path> files;  ///< of the partitions
  FaultList faults;                          ///< if there are any, partitions are missing above
  std::vector<std::string> warnings;
  /// Tokens after the last whole window of each partition, in no row: their sum, by field with windows.
  std::map<std::string, std::uint64_t> tokens_left_over;
};

/// Surveys the partitions (list_partitions). Files that the probe could not open
/// are faults and are never opened in this process. Throws Error{kData} if there is no partition or no row,
/// Error{kStorage} if a file or the folder cannot be read.
PartitionSurvey survey_partitions(const Contract& contract, const std::filesystem::path& root,
                                  const ValidateOptions& options);

}  // namespace muster
