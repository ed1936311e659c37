#pragma once
// A first contract from HDF5 files, of what muster-probe says is in them.

#include <vector>

#include "data_loader/ingest/draft_sources.h"
#include "data_loader/reading/partition_file.h"

namespace muster {

/// Opens each file and reads at most a million rows of a dataset. `layouts`: of each of options.files.
/// Error{kData} for files without a dataset that could be a field, or of different layouts.
Drafted draft_hdf5(const DraftOptions& options, std::vector<std::vector<DatasetLayout>> layouts);

}  // namespace muster
