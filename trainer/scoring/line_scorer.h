#pragma once
// Rows as lines of text, each answered by a line.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/contract/text_encoding.h"
#include "data_loader/ingest/csv_spec.h"
#include "data_loader/ingest/text_row.h"
#include "trainer/scoring/scorer.h"

namespace muster {

/// Scores one row at a time, so that an answer depends on its line alone. A line that breaks the contract is
/// answered with what is wrong. Used by one thread; `scorer` and `contract` outlive it.
class LineScorer {
 public:
  /// `contract`: the one that `scorer` was made for. `csv`: how cells of CSV are read.
  LineScorer(Scorer& scorer, const Contract& contract, CsvSpec csv = {});

  /// Of CSV, first: which columns the input has; none where it has no header. Returns the answers' header.
  /// Error{kData} names a column that is not there, or is there twice.
  std::string begin_csv(std::span<const std::string_view> header);
  /// The cells of a record, or `fault`: why it could not be split.
  std::string answer_csv(std::span<const std::string_view> cells, const std::string& fault);
  /// One JSON object. Members that the contract does not know are passed over; null is a missing value, an
  /// input that is not there is refused.
  std::string answer_json(std::string_view line);

  std::uint64_t scored() const { return scored_; }
  std::uint64_t refused() const { return refused_; }  ///< lines that break the contract
  std::uint64_t dropped() const { return dropped_; }  ///< rows that a `missing: drop` leaves out

 private:
  Result<std::vector<float>> score(const std::string& wrong);
  std::string answer_cells(std::span<const std::string_view> cells, const std::string& fault);
  std::string csv_answer(std::span<const std::string_view> cells, std::span<const float> scores,
                         const std::string& error) const;

  Scorer& scorer_;
  CsvSpec csv_;
  std::optional<TextEncoding> encoding_;
  TextRow row_;
  Batch batch_;
  std::vector<Field> keys_;
  std::vector<Field> scores_;
  std::vector<std::size_t> cell_of_field_;
  std::vector<std::size_t> cells_of_keys_;  ///< of the keys that the header has
  std::optional<std::size_t> width_;        ///< cells of a record
  std::uint64_t scored_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace muster
