#pragma once
// The fitted way from a block's raw columns to the rows of a batch. Part of every checkpoint.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "data_loader/contract/batch.h"
#include "data_loader/contract/contract.h"
#include "data_loader/contract/field_summary.h"
#include "data_loader/contract/transform.h"

namespace muster {

/// A value that the contract forbids, met in a block: NaN or infinite, a negative weight. `where` is
/// "field[row of its block]"; who knows the file says more.
class BadValue : public Error {
 public:
  BadValue(std::string message, const Field& at, std::size_t field_number, std::uint32_t row)
      : Error(ErrorCode::kData, std::move(message), fmt::format("{}[row {} of its block]", at.name, row)),
        field(field_number),
        row_in_block(row) {}
  std::size_t field;  ///< index in contract.fields()
  std::uint32_t row_in_block;
};

/// A label's scale in the training split, for losses that depend on it; of an array over all its values. Of
/// an only label that is one integer it is 0 and 1; of several each has its own.
struct LabelScale {
  double mean = 0;
  double deviation = 1;
};

/// What a model learns to predict: a field with role label.
struct TargetLabel {
  std::string name;
  LabelScale scale;
};

/// Names of what a run uses; empty: all that the contract lets.
struct FieldChoice {
  std::vector<std::string> features;
  std::vector<std::string> labels;
};

/// Makes these batch tensors: "features" (float32 [F]: what the transforms of fields without a shape make, in
/// order, each followed by its 0/1 indicator when `missing: indicator`), "categories" (int64 [C]: the ids of
/// those that make ids), one tensor per array field, named like the field (float32, or int64 where its
/// transform makes ids), and "label" (of one label its shape, of several numbers [T] in contract order; int64
/// where all are integers, else float32) if the contract has one. A weight field sets the weight of each row
/// (1 without one). Immutable, thread-safe. JSON form: docs/pipeline.md.
class FeaturePipeline {
 public:
  /// The fields to use, as indices of contract.fields(), ascending: those with a transform (all
  /// features, times that say so), or the ones named (Error{kConfig} for unknown names, names given twice,
  /// `never_features`, other roles).
  static std::vector<std::size_t> select(const Contract& contract, std::span<const std::string> features);
  /// The labels to learn, as indices of contract.fields(), ascending: all of them, or the ones named
  /// (Error{kConfig} for names that are no label's, with the nearest one, and names given twice).
  static std::vector<std::size_t> select_labels(const Contract& contract,
                                                std::span<const std::string> labels);
  /// What fit wants summaries of: the fields themselves, then the `labels` (names, empty: all): an only one
  /// where it is a float or an array, several always.
  static std::vector<std::size_t> to_summarize(const Contract& contract, std::vector<std::size_t> fields,
                                               std::span<const std::string> labels = {});
  /// Fits each field's transform; `summaries[i]` belongs to `to_summarize(contract, fields, labels)[i]` and
  /// comes from the training split. Throws Error{kConfig} for what no tensor can be made of (as an array
  /// beside another label), Error{kData} for numbers that are not finite.
  static FeaturePipeline fit(const Contract& contract, const std::vector<std::size_t>& fields,
                             std::span<const FieldSummary> summaries,
                             std::span<const std::string> labels = {});
  /// Back from to_json, with the same bits. Throws Error{kStorage} for malformed JSON, Error{kConfig} that
  /// names the field when `contract` has it otherwise (dtype, shape, missing, role) or not at all.
  static FeaturePipeline from_json(const Contract& contract, const Json& json, const std::string& where);
  /// As from_json, of the inputs alone: what scores data that have no label yet. No "label" tensor, every
  /// weight is 1, and `contract` needs to have the inputs only.
  static FeaturePipeline for_scoring(const Contract& contract, const Json& json, const std::string& where);
  Json to_json() const;

  FeaturePipeline(FeaturePipeline&&) noexcept;
  FeaturePipeline& operator=(FeaturePipeline&&) noexcept;
  ~FeaturePipeline();

  /// The tensors of a batch, label included.
  const std::vector<TensorSpec>& tensors() const;
  /// Names of the columns of "features", for people: "amount", "amount.missing", ….
  const std::vector<std::string>& feature_names() const;
  /// Names of the columns of "categories".
  const std::vector<std::string>& category_names() const;
  /// What the columns of "label" are, also where the pipeline is for scoring and has no such tensor.
  const std::vector<TargetLabel>& targets() const;
  LabelScale label_scale() const;  ///< of the first target; 0 and 1 without one
  /// Contract fields that a reader must give for each block, in the order scatter wants them.
  const std::vector<std::size_t>& source_fields() const;

  struct Target {
    std::uint32_t row_in_block = 0;
    std::uint32_t row_in_batch = 0;
    Batch* batch = nullptr;
  };
  /// Writes rows of a block into batches. `columns[i]` is the whole block of source_fields()[i]. Rows go to
  /// disjoint places, so different threads may scatter into the same batch. Sets tensors, weight; not ids or
  /// positions. The columns are aligned for their dtypes. Throws BadValue; the targets' rows are then
  /// undefined.
  void scatter(std::span<const std::span<const std::byte>> columns, std::span<const Target> targets) const;

 private:
  FeaturePipeline();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
