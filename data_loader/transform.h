#pragma once
// What turns a field's values into model inputs. A new transform is one new file with one registration line:
//   const bool kRegistered = transforms().add("log1p", …);

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/json.h"
#include "core/registry.h"
#include "data_loader/contract.h"
#include "data_loader/statistics.h"

namespace muster {

/// Where one row of a block goes: `out` points at the row's first float of the output tensor.
struct RowTarget {
  std::uint32_t row_in_block = 0;
  float* out = nullptr;
};

/// A fitted transform of one field. Immutable, thread-safe.
class Transform {
 public:
  virtual ~Transform() = default;
  /// Floats per row.
  virtual std::size_t width() const = 0;
  /// Writes each target's row: `column` holds all rows of the block in the field's dtype; out[offset … offset
  /// + width).
  virtual void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
                     std::size_t offset) const = 0;
  /// What was fitted; enough for the factory to make the same transform again.
  virtual Json to_json() const = 0;
};

struct TransformFactory {
  /// Fits to the statistics of the training split.
  std::function<std::unique_ptr<Transform>(const Field&, const FieldStatistics&)> fit;
  /// Back from to_json.
  std::function<std::unique_ptr<Transform>(const Field&, const Json&)> load;
  std::string help;  ///< one line
};

/// Shipped: "none" (as a float), "standardize" ((x - mean) / deviation; constant fields become 0), "scale" (x
/// / the dtype's largest value, for images).
inline Registry<TransformFactory>& transforms() { return Registry<TransformFactory>::of_kind("transform"); }

}  // namespace muster
