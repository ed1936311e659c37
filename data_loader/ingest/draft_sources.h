#pragma once
// Data of unknown content, looked at for a first contract: CSV files, HDF5 files.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/log.h"
#include "data_loader/ingest/contract_draft.h"
#include "data_loader/ingest/csv_reader.h"

namespace muster {

struct DraftOptions {
  std::vector<std::filesystem::path> files;       ///< all of one kind and one layout
  std::filesystem::path probe;                    ///< the program muster-probe, for HDF5
  std::uint64_t memory = std::uint64_t{1} << 30;  ///< bound of what is kept to count different values
  LogSink log = silent_log();
};

/// What was found out about CSV files, for the ingest spec.
struct CsvLayout {
  CsvDialect dialect;
  bool header = true;
  char decimal = '.';
  std::string thousands;  ///< NumberStyle::thousands
  bool utf8 = true;
  std::uint64_t wrong_records = 0;  ///< another number of fields, or broken quotes
};

struct Drafted {
  ContractDraft draft;
  std::optional<CsvLayout> csv;  ///< nothing: HDF5
};

/// Reads every file once, in bounded memory (of HDF5 at most a million rows of a dataset). Error{kData} for
/// what is neither, for files of different layouts, and for files without rows; Error{kStorage}.
Drafted draft_contract(const DraftOptions& options);

/// The ingest spec that goes with a draft of CSV files; paths as they are given to it.
std::string ingest_text(const Drafted& drafted, const std::vector<std::filesystem::path>& files,
                        const std::string& contract);

}  // namespace muster
