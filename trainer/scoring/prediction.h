#pragma once
// A checkpoint's scores of a dataset's rows, into one file.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "core/file_system.h"
#include "core/json.h"
#include "core/log.h"
#include "data_loader/contract/contract.h"
#include "trainer/comm/communicator.h"
#include "trainer/comm/device_choice.h"
#include "trainer/scoring/scorer.h"

namespace muster {

struct PredictOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path dataset;  ///< validated, by any contract that has the model's inputs
  std::filesystem::path root;     ///< where its partitions lie; "": in it
  std::string split;              ///< "": all rows, but for those that a `missing: drop` leaves out
  std::filesystem::path out;      ///< .csv, .h5 or .hdf5
  bool overwrite = false;
  ScoringDevice device;
  LogSink log = silent_log();
  /// Rank 0, after every round: rows done, of how many.
  std::function<void(std::uint64_t, std::uint64_t)> progress;
};

/// What an answer calls a field of the data: "data.NAME" where the name is one of an answer's own; no field's
/// name has a dot in it.
std::string name_beside_scores(const std::string& name);
/// The columns that a row's scores make: "probability" and "predicted" (binary, cross-entropy), or
/// "prediction" in the label's unit and shape. Of several targets each has its own: "probability.NAME", ….
std::vector<Field> score_fields(const Scorer& scorer);
/// Their values for rows × outputs scores.
std::vector<std::vector<std::byte>> score_columns(const Scorer& scorer, std::span<const float> scores);

/// Collective. Rows in dataset order; each with its partition and row, its keys, time and label as the data
/// have them, and its scores. The same bytes for any number of ranks with the same train.threads on CPUs, in
/// the micro-batches of an evaluation, so that its metrics follow from them. Values are held to the
/// checkpoint's contract too. Returns {checkpoint, step, decision, rows, rows_left_out, out, seconds}.
/// Failures are AgreedErrors, and leave no file.
Json predict(Communicator& comm, FileSystem& files, const PredictOptions& options);

}  // namespace muster
