#pragma once
// What turns a field's values into model inputs. A new transform is one new file with one registration line:
//   const bool kRegistered = transforms().add("log1p", …);

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/option.h"
#include "core/registry.h"
#include "data_loader/contract/batch.h"
#include "data_loader/contract/contract.h"
#include "data_loader/contract/field_summary.h"

namespace muster {

/// Where one row of a block goes: `out` points at the row's first value of the output tensor.
struct RowTarget {
  std::uint32_t row_in_block = 0;
  std::byte* out = nullptr;
  float* floats() const { return reinterpret_cast<float*>(out); }
  std::int64_t* ids() const { return reinterpret_cast<std::int64_t*>(out); }
};

/// A fitted transform of one field. Immutable, thread-safe.
class Transform {
 public:
  virtual ~Transform() = default;
  /// Values per row.
  virtual std::size_t width() const = 0;
  /// How many different ids it makes, from 0: its values are int64 then, else (0) float32.
  virtual std::int64_t ids() const { return 0; }
  /// Whether `apply` can leave values outside [0, ids()): such a row is then refused.
  virtual bool ids_can_be_bad() const { return false; }
  /// For people: what each of its values is.
  virtual std::vector<std::string> names(const Field& field) const;
  /// Writes each target's row: `column` holds all rows of the block in the dtype of the field that it was
  /// made for; values [offset, offset + width) of the target.
  virtual void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
                     std::size_t offset) const = 0;
  /// What was fitted; enough for the factory to make the same transform again.
  virtual Json to_json() const = 0;
};

/// Either an element-wise map that knows nothing of the data (`map`; any number of them can come first), or
/// fitted to the training split (`fit`, `load`; the last one).
struct TransformFactory {
  std::vector<Option> options;
  std::function<std::function<double(double)>(const Json& options)> map = nullptr;
  /// Fits to the summary of the training split, which holds what `needs` says. The field's dtype is float64
  /// where values come mapped or imputed.
  std::function<std::unique_ptr<Transform>(const Field&, const Json& options, const FieldSummary&)> fit =
      nullptr;
  /// Back from to_json.
  std::function<std::unique_ptr<Transform>(const Field&, const Json& options, const Json& fitted)> load =
      nullptr;
  SummaryNeeds needs = {};
  /// What `apply` reads: the field's own column as long as nothing maps or imputes it; always that, with
  /// missing values in it, so that no map can come first; or always doubles, with NaN for what is missing and
  /// not imputed.
  enum class Reads { kField, kRaw, kDoubles };
  Reads reads = Reads::kField;
  bool takes_texts = false;
  bool categories = false;  ///< values are equal or not: more or less means nothing
  /// Error{kConfig}, without a place, for fields that it is not for.
  std::function<void(const Field&, const Json& options)> check = nullptr;
  std::string help;  ///< one line
};

/// Shipped: see docs/pipeline.md. An unknown name lists them.
inline Registry<TransformFactory>& transforms() { return Registry<TransformFactory>::of_kind("transform"); }

}  // namespace muster
