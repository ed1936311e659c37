#pragma once
// What the values of one column of unknown data say of themselves.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data_loader/ingest/csv_cell.h"
#include "data_loader/ingest/style_guess.h"

namespace muster {

/// Counts different 64-bit hashes exactly, up to a bound. Memory: 16 bytes for each of `most`.
class DistinctHashes {
 public:
  explicit DistinctHashes(std::size_t most) : most_(most) {}
  void add(std::uint64_t hash);
  /// How many different ones; more than `most` if too many to tell.
  std::size_t count();
  bool too_many() const { return too_many_; }
  std::size_t most() const { return most_; }

 private:
  void compact();
  std::size_t most_;
  std::size_t sorted_ = 0;  ///< so many at the front are sorted and different
  bool too_many_ = false;
  std::vector<std::uint64_t> hashes_;
};

/// Facts of a column of texts, a cell at a time. One thread.
class ColumnEvidence {
 public:
  /// `most_distinct`: bound of what is counted exactly. Of `rules` the decimal sign and the missing markers.
  ColumnEvidence(std::string name, std::size_t most_distinct, CellRules rules);

  /// Blanks around a cell do not count; a marker of the rules is a missing value.
  void add(std::string_view cell);

  const std::string& name() const { return name_; }
  std::uint64_t cells() const { return cells_; }
  std::uint64_t missing() const { return missing_; }
  std::uint64_t present() const { return cells_ - missing_; }
  std::uint64_t whole() const { return whole_; }      ///< read as whole numbers of at most 64 bits
  std::uint64_t numbers() const { return numbers_; }  ///< read as numbers, whole ones among them
  /// Of the numbers those that only a unit or a separator of thousands (`number_style`) makes one.
  std::uint64_t styled() const { return styled_; }
  const NumberStyleGuess& number_style() const { return number_style_; }
  /// Dates or times: ISO ones, or all of them in one other format, or several that fit (`time_formats`).
  std::uint64_t times() const { return other_times() ? time_guess_.cells() : iso_times_; }
  std::vector<std::string> time_formats() const;
  std::uint64_t truths() const { return truths_; }  ///< yes, no, true, false, t, f, y, n, 0, 1
  std::uint64_t negative() const { return negative_; }
  std::uint64_t leading_zeros() const { return leading_zeros_; }  ///< "007": numbers that are names
  int digits() const { return digits_; }  ///< most significant digits of a number that is not whole
  /// Of numbers, or of times in seconds since 1970.
  double least() const { return other_times() ? time_guess_.candidates().front().least : least_; }
  double greatest() const { return other_times() ? time_guess_.candidates().front().greatest : greatest_; }
  std::uint64_t times_least() const { return times_least_; }  ///< how often the least value occurs
  std::size_t longest() const { return longest_; }            ///< bytes
  bool valid_utf8() const { return valid_utf8_; }
  /// Numbers or times never go back.
  bool ascends() const { return other_times() ? time_guess_.candidates().front().ascends : ascends_; }
  DistinctHashes& distinct() { return distinct_; }
  /// Values by how often they occur; empty where there are more than kMostListed.
  std::vector<std::pair<std::string, std::uint64_t>> values() const;
  /// Some of the texts that are no numbers, as they came first; how many different ones up to kMostOdd.
  const std::map<std::string, std::uint64_t>& odd() const { return odd_; }

  static constexpr std::size_t kMostListed = 50;
  static constexpr std::size_t kMostOdd = 3;

 private:
  void add_number(double value);
  bool add_as_number(std::string_view cell);
  bool other_times() const { return time_guess_.cells() > 0 && time_guess_.cells() == present(); }
  void list(std::string_view cell);

  std::string name_;
  CellRules rules_;
  std::uint64_t cells_ = 0, missing_ = 0, whole_ = 0, numbers_ = 0, iso_times_ = 0, truths_ = 0,
                negative_ = 0, leading_zeros_ = 0;
  std::uint64_t styled_ = 0;
  std::uint64_t times_least_ = 0;
  int digits_ = 0;
  double least_ = std::numeric_limits<double>::infinity();
  double greatest_ = -std::numeric_limits<double>::infinity();
  double last_ = -std::numeric_limits<double>::infinity();
  std::size_t longest_ = 0;
  bool valid_utf8_ = true;
  bool ascends_ = true;
  bool too_many_to_list_ = false;
  DistinctHashes distinct_;
  NumberStyleGuess number_style_;
  TimeFormatGuess time_guess_;
  std::map<std::string, std::uint64_t, std::less<>> listed_;
  std::map<std::string, std::uint64_t> odd_;
};

}  // namespace muster
