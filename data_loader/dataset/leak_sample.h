#pragma once
// The rows that the leak guard looks at, as numbers that ranks can exchange.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data_loader/dataset/dataset.h"
#include "data_loader/dataset/known_times.h"
#include "data_loader/dataset/leak_guard.h"
#include "data_loader/features/feature_pipeline.h"

namespace muster {

/// Which fields a sample is made of, as indices of contract.fields(). The contract has a label.
/// Of a row the sample has: each label of one number; a hash of all inputs and labels; the scalars; a hash of
/// each key; for each feature that says when it became known its Lateness.
struct LeakFields {
  std::vector<std::size_t> inputs;   ///< what the run uses
  std::vector<std::size_t> scalars;  ///< of these the ones without a shape
  std::vector<std::size_t> keys;     ///< with role key, without a shape
  std::vector<std::size_t> labels;   ///< to learn, the ones without a shape
  std::vector<std::size_t> arrays;   ///< to learn, the others
  std::vector<KnownTime> known;      ///< of the inputs that say it

  /// Error{kConfig} as FeaturePipeline::select and select_labels.
  static LeakFields of(const Contract& contract, const FieldChoice& choice);
  /// Numbers per row, and the place of the first of each kind.
  std::size_t width() const { return first_known() + known.size(); }
  std::size_t hash_place() const { return labels.size(); }
  std::size_t first_scalar() const { return labels.size() + 1; }
  std::size_t first_key() const { return first_scalar() + scalars.size(); }
  std::size_t first_known() const { return first_key() + keys.size(); }
};

/// Blocks of a split, evenly spread: all of them, or as many as keep to 200,000 rows, 64 MiB of numbers and 1
/// GiB of inputs to read.
std::vector<std::uint32_t> leak_blocks(const Dataset& dataset, const LeakFields& fields, std::uint8_t split);

/// The split's rows of these blocks, LeakFields::width() numbers each; of doubles their bits. Calls
/// `before_block` before each, which throws what ends it; it may be empty.
std::vector<std::uint64_t> read_leak_rows(const Dataset& dataset, const LeakFields& fields,
                                          std::uint8_t split, std::span<const std::uint32_t> blocks,
                                          const std::function<void()>& before_block);

/// What the detectors take, from such rows; without a label where none is one number.
LeakTable leak_table(const Contract& contract, const LeakFields& fields, std::span<const std::uint64_t> rows);
/// The values of label number `target` of fields.labels; leak_table has the first one's.
std::vector<double> leak_label(const LeakFields& fields, std::span<const std::uint64_t> rows,
                               std::size_t target);
/// Of each of fields.known, in the rows of `blocks`.
std::vector<LateCount> count_late(const Dataset& dataset, const LeakFields& fields,
                                  std::span<const std::uint64_t> rows, std::uint8_t split,
                                  std::span<const std::uint32_t> blocks);
SplitSide split_side(const std::string& split, const LeakFields& fields, std::span<const std::uint64_t> rows);

}  // namespace muster
