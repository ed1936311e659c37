#pragma once
// A first contract from what data say of themselves: types, ranges, missing values, and what is to be
// decided.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/ingest/column_evidence.h"

namespace muster {

/// A column or HDF5 dataset as a field of the draft.
struct DraftField {
  std::string column;              ///< its name in the source
  Field field;                     ///< what the draft says; transform is left open
  std::vector<std::string> notes;  ///< comments above it, one line each
  NumberStyle number_style;        ///< of texts: how its numbers are written
  std::string time_format;         ///< of texts: of its times, where it is not ISO 8601
};

struct ContractDraft {
  std::uint64_t rows = 0;
  std::vector<std::string> sources;  ///< for the head
  std::vector<std::string> notes;    ///< about the whole, one line each
  std::vector<DraftField> fields;
  std::vector<std::string> partitions;  ///< files that can be read as they are, in place
  std::optional<std::size_t> time;      ///< the field that rows are in the order of, or any time
  bool in_time_order = false;
};

/// A name for a field that no other in `taken` has: what cannot be in a name becomes '_'.
std::string field_name(const std::string& column, const std::vector<DraftField>& taken);

/// Type, role and rules of a column of texts; no rule knows a name. `stored`: the type that the source
/// already has (HDF5), else it is chosen.
DraftField draft_field(ColumnEvidence& evidence, std::string name, std::optional<DType> stored,
                       std::uint64_t stored_length);

/// contract.yaml with comments; what must be decided is on lines that begin with "# DECIDE". Parses.
std::string draft_text(const ContractDraft& draft);

}  // namespace muster
