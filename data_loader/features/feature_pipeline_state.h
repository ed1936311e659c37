#pragma once
// What a FeaturePipeline holds: shared by fitting (feature_pipeline.cpp), its JSON form
// (feature_pipeline_json.cpp) and scattering (feature_scatter.cpp).

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/column_values.h"
#include "data_loader/features/feature_pipeline.h"

namespace muster {

/// Whether the last transform gets doubles, mapped and imputed, instead of the field's own column.
bool reads_doubles(const Field& field);

/// One input of the pipeline: a field, what was fitted, and where it goes.
struct PipelineInput {
  std::size_t field = 0;  // in contract.fields()
  Field spec;
  FieldStatistics statistics;
  double imputed = 0;  // after the maps
  std::unique_ptr<Transform> transform;
  std::optional<ColumnValues> values = std::nullopt;  // where values come mapped or imputed
  std::size_t source = 0;                             // in source_fields()
  std::size_t offset = 0;                             // of its first value in the tensor's row

  bool has_ids() const { return transform->ids() > 0; }
  /// Of ids a missing value is one.
  bool has_indicator() const { return spec.missing == Missing::kIndicator && !has_ids(); }
  /// A category looks after its missing values itself.
  bool imputes() const {
    return reads_doubles(spec) && (spec.missing == Missing::kImpute || has_indicator());
  }
};

/// A tensor and the inputs that fill it.
struct InputTensor {
  std::size_t tensor = 0;
  std::size_t row_bytes = 0;
  std::vector<std::size_t> inputs;
};

/// A label or the weight.
struct PipelineColumn {
  std::size_t field = 0;
  Field spec;
  std::size_t source = 0;
};

struct FeaturePipeline::State {
  using Targets = std::span<const Target>;

  std::vector<PipelineInput> inputs;
  std::vector<TargetLabel> learned;
  std::vector<PipelineColumn> labels;  ///< of what is learned; empty for scoring
  std::optional<PipelineColumn> weight;
  std::vector<InputTensor> input_tensors;
  std::size_t label_tensor = 0;
  std::vector<TensorSpec> tensors;
  std::vector<std::string> feature_names;
  std::vector<std::string> category_names;
  std::vector<std::size_t> source_fields;

  std::size_t add_source(std::size_t field) {
    source_fields.push_back(field);
    return source_fields.size() - 1;
  }
  void lay_out(const Contract& contract);
  void lay_out_inputs();
  void add_numbers();
  void add_categories();
  void add_array(std::size_t input);
  void add_labels(const Contract& contract);
  PipelineColumn column_of(const Contract& contract, const Field& field);
  void fill(const InputTensor& tensor, std::span<const std::span<const std::byte>> columns,
            Targets targets) const;
  void apply_mapped(const PipelineInput& input, std::span<const std::byte> column,
                    std::span<const RowTarget> rows) const;
  void check_finite(const InputTensor& tensor, std::span<const RowTarget> rows) const;
  void check_ids(const InputTensor& tensor, std::span<const RowTarget> rows) const;
  void fill_label(std::size_t number, std::span<const std::byte> column, Targets targets) const;
  void fill_weights(std::span<const std::byte> column, Targets targets) const;
};

/// The field as its fitted transform knows it: of doubles where values come mapped or imputed.
Field as_transformed(const Field& field);
/// The last step's transform, or "none" after maps alone.
const TransformStep& fitted_step(const Field& field);

}  // namespace muster
