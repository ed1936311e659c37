#pragma once
// How a contract deals its rows to splits.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster {

/// Rows by time: each split holds the rows with from <= time < until.
struct TimeSplit {
  struct Interval {
    std::string name;
    std::optional<std::int64_t> from;   ///< seconds since 1970, or the field's own unit
    std::optional<std::int64_t> until;  ///< exclusive
  };
  std::string field;
  std::int64_t gap = 0;  ///< least distance between one split's `until` and the next one's `from`
  std::vector<Interval> intervals;
};

/// At random: split i holds about that fraction of the rows, by a hash of (seed, partition number, row), or
/// of the key field's values, by a hash of (seed, value): all rows of a value are then on one side.
struct FractionSplit {
  struct Share {
    std::string name;
    double fraction = 0;
  };
  std::uint64_t seed = 0;
  std::string key;            ///< name of the field with role key; "": by row
  bool stratified = false;    ///< by row: every value of the label has the same shares, to the row
  std::string label;          ///< where stratified: which label, if there are several
  std::vector<Share> shares;  ///< sum at most 1; what is left is in no split
};

/// By the order of the rows, partition after partition: the first share of all rows, then the next.
struct OrderSplit {
  std::uint64_t gap_rows = 0;  ///< rows left out between two splits
  std::vector<FractionSplit::Share> shares;
};

using SplitRule = std::variant<TimeSplit, FractionSplit, OrderSplit>;

}  // namespace muster
