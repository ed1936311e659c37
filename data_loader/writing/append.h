#pragma once
// What a dataset has, for an ingest that adds to it.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/manifest/source_record.h"

namespace muster {

struct ExistingDataset {
  std::uint32_t partitions = 0;  ///< the number that the next one gets
  std::uint64_t rows = 0;        ///< as stored
  std::uint32_t block_rows = 0;  ///< of the partitions' chunks; 0 if there are none
  std::vector<IngestRecord> records;
};

/// Looks at what `directory` has; without contract.yaml and partitions: nothing. Refuses, by Error{kUsage}, a
/// dataset of another contract than `contract`, and partitions that an interrupted ingest left. `probe`: the
/// program muster-probe; "" = open the files in this process. Removes what an interrupted append has not
/// published.
ExistingDataset existing_dataset(const std::filesystem::path& directory, const Contract& contract,
                                 const std::filesystem::path& probe);

}  // namespace muster
