#pragma once
// Data for trials of a training.

#include <cstdint>
#include <filesystem>

namespace muster {

struct TrialData {
  std::uint64_t rows = 0;
  std::uint64_t seed = 1;
  std::uint32_t partitions = 1;
  std::uint32_t block_rows = 0;  ///< 0: chosen
};

/// Rows of the generator `tabular` below `directory`, validated. What is there of an earlier call stays, if
/// it was finished. Throws as generate and validate.
void make_trial_data(const std::filesystem::path& directory, const TrialData& wanted);

}  // namespace muster
