#pragma once
// Rows found bad while training: they keep their places in the order and count for nothing.

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/json.h"

namespace muster {

/// Consecutive rows of a partition, and why they are bad.
struct BadRows {
  std::uint32_t partition = 0;  ///< number in the manifest
  std::uint64_t first_row = 0;  ///< in its file
  std::uint64_t rows = 0;
  std::string reason;

  Json to_json() const;
  static BadRows from_json(const Json& json, const std::string& where);
};

/// What is done with a row that cannot be read, is not what was validated, or that a transform cannot take.
enum class BadRowPolicy {
  kRefuse,    ///< it ends the stream
  kKeepSlot,  ///< the row keeps its place, zeros with weight 0
  kDrop       ///< the row is taken out of its batch
};

/// The rows that all ranks have agreed to pass over. Thread-safe.
class Quarantine {
 public:
  /// False if all of its rows were in it already.
  bool add(const BadRows& bad);
  bool contains(std::uint32_t partition, std::uint64_t row) const { return covers(partition, row, 1); }
  bool covers(std::uint32_t partition, std::uint64_t first_row, std::uint64_t rows) const;
  bool empty() const;
  /// How many rows, in how many ranges.
  std::uint64_t rows() const;
  std::uint64_t ranges() const;

  /// A list of BadRows by partition and row: overlapping ones as one, by the reason that came first.
  Json to_json() const;
  /// Adds what an earlier to_json gave; null for none. Error{kStorage}.
  void restore(const Json& json);

 private:
  mutable std::mutex mutex_;
  std::uint64_t rows_ = 0;
  std::uint64_t ranges_ = 0;
  std::map<std::uint32_t, std::map<std::uint64_t, BadRows>> by_first_;  ///< [partition][first row], disjoint
};

}  // namespace muster
