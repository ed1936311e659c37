#pragma once
// What a dataset's fields hold, per split: counts, moments, quantiles, frequent values, histograms. Format of
// the JSON: docs/profile.md.

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "data_loader/contract/contract.h"
#include "data_loader/contract/field_summary.h"
#include "data_loader/dataset/dataset.h"

namespace muster {

/// What a profile wants summarized of a field: of numbers the quantiles (exact counts of up to 4,096
/// different values with them), of texts the counts. As stored: no transform is applied.
SummaryNeeds profile_needs(const Field& field);

/// Summaries of one block: of split s (as in the row index; the last one: rows in no split) and field f at
/// s × fields + f.
std::vector<FieldSummary> profile_block(BlockReader& reader, const Dataset& dataset, std::uint32_t block);

/// The profile from the merged summaries of all blocks: a function of their bits alone.
Json profile_json(const Dataset& dataset, const std::vector<FieldSummary>& summaries);

}  // namespace muster
