#pragma once
// When a feature's value became known (`known_at` of the contract), against the time of its row.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/dataset/leak_guard.h"

namespace muster {

/// A feature that says when it became known; all are indices of contract.fields().
struct KnownTime {
  std::size_t feature = 0;
  std::size_t known_at = 0;
  std::size_t time = 0;
};

/// Those of `features` that say it, in their order.
std::vector<KnownTime> known_times(const Contract& contract, std::span<const std::size_t> features);

enum class Lateness : std::uint64_t { kInTime, kLate, kUnknown };

/// Of a row: whether its value became known later than the row's time; integers and floats are compared
/// exactly. Unknown where one of the two is missing. `known_at` and `time` are the fields, the bytes one
/// value of each.
Lateness lateness(const Field& known_at, std::span<const std::byte> known_value, const Field& time,
                  std::span<const std::byte> time_value);

/// What a sample of rows says of one feature.
struct LateCount {
  KnownTime field;
  std::uint64_t rows = 0;
  std::uint64_t late = 0;
  std::uint64_t unknown = 0;
  std::string first;  ///< the first late one as file:dataset[row]; "" for none
};

/// One sign for each feature that is late in any row.
std::vector<LeakFinding> find_late(const Contract& contract, std::span<const LateCount> counts);

/// A line for each feature of which it is unknown in some rows.
std::vector<std::string> unknown_lines(const Contract& contract, std::span<const LateCount> counts);

}  // namespace muster
