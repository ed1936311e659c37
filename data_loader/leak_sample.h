#pragma once
// The rows that the leak guard looks at, as numbers that ranks can exchange.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data_loader/dataset.h"
#include "data_loader/leak_guard.h"

namespace muster {

/// Which fields a sample is made of, as indices of contract.fields(). The contract has a label.
struct LeakFields {
  std::vector<std::size_t> inputs;   ///< what the run uses
  std::vector<std::size_t> scalars;  ///< of these the ones without a shape
  std::vector<std::size_t> keys;     ///< with role key, without a shape
  std::size_t label = 0;

  /// Error{kConfig} as FeaturePipeline::select.
  static LeakFields of(const Contract& contract, const std::vector<std::string>& features);
  /// Numbers per row: the label, a hash of all inputs and the label, the scalars, a hash of each key.
  std::size_t width() const { return 2 + scalars.size() + keys.size(); }
};

/// Blocks of a split, evenly spread: all of them, or as many as keep to 200,000 rows, 64 MiB of numbers and 1
/// GiB of inputs to read.
std::vector<std::uint32_t> leak_blocks(const Dataset& dataset, const LeakFields& fields, std::uint8_t split);

/// The split's rows of these blocks, LeakFields::width() numbers each; of doubles their bits.
std::vector<std::uint64_t> read_leak_rows(const Dataset& dataset, const LeakFields& fields,
                                          std::uint8_t split, std::span<const std::uint32_t> blocks);

/// What the detectors take, from such rows.
LeakTable leak_table(const Contract& contract, const LeakFields& fields, std::span<const std::uint64_t> rows);
SplitSide split_side(const std::string& split, const LeakFields& fields, std::span<const std::uint64_t> rows);

}  // namespace muster
