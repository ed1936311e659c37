#pragma once
// How the numbers, dates and times of a column are written, where programs would write them otherwise.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/contract/number_style.h"

namespace muster {

/// A unit beside numbers, a separator of thousands: what the first cell that needs one has. A unit is %, $,
/// what is not ASCII (a currency's sign), or letters behind a number and a blank; codes like A12 and 12A have
/// none.
class NumberStyleGuess {
 public:
  explicit NumberStyleGuess(char decimal) { style_.decimal = decimal; }

  /// The number as programs write it, if it is one in the column's style, which this cell may settle.
  std::optional<std::string> read(std::string_view cell);
  const NumberStyle& style() const { return style_; }
  const std::string& example() const { return example_; }  ///< the first cell that was read

 private:
  NumberStyle style_;
  std::string example_;
};

/// Which of the usual formats all cells have.
class TimeFormatGuess {
 public:
  struct Candidate {
    std::string format;
    double least = std::numeric_limits<double>::infinity();  ///< seconds since 1970
    double greatest = -std::numeric_limits<double>::infinity();
    double last = -std::numeric_limits<double>::infinity();
    bool ascends = true;
  };

  TimeFormatGuess();
  /// Once a cell has none of the formats left there is none.
  void add(std::string_view cell);
  std::uint64_t cells() const { return cells_; }  ///< that all candidates read
  const std::vector<Candidate>& candidates() const { return candidates_; }

 private:
  std::uint64_t cells_ = 0;
  std::vector<Candidate> candidates_;
};

}  // namespace muster
