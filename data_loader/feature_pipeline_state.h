#pragma once
// What a FeaturePipeline holds: shared by fitting (feature_pipeline.cpp) and scattering
// (feature_scatter.cpp).

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data_loader/feature_pipeline.h"

namespace muster {

/// One input of the pipeline: a field, what was fitted, and where it goes.
struct PipelineInput {
  std::size_t field = 0;  // in contract.fields()
  Field spec;
  FieldStatistics statistics;
  std::unique_ptr<Transform> transform;
  std::size_t source = 0;  // in source_fields()
  std::size_t offset = 0;  // of its first float in the tensor's row

  bool has_indicator() const { return spec.missing == Missing::kIndicator; }
};

/// A tensor of floats and the inputs that fill it.
struct FloatTensor {
  std::size_t tensor = 0;
  std::size_t width = 0;
  std::vector<std::size_t> inputs;
};

/// The label or the weight.
struct PipelineColumn {
  std::size_t field = 0;
  Field spec;
  std::size_t source = 0;
};

struct FeaturePipeline::State {
  using Targets = std::span<const Target>;

  std::vector<PipelineInput> inputs;
  std::optional<PipelineColumn> label;
  std::optional<PipelineColumn> weight;
  std::vector<FloatTensor> float_tensors;
  std::size_t label_tensor = 0;
  std::vector<TensorSpec> tensors;
  std::vector<std::string> feature_names;
  std::vector<std::size_t> source_fields;

  std::size_t add_source(std::size_t field) {
    source_fields.push_back(field);
    return source_fields.size() - 1;
  }
  void lay_out(const Contract& contract);
  void add_array(std::size_t input);
  void add_column(const Contract& contract, Role role, std::optional<PipelineColumn>& column);
  void fill(const FloatTensor& tensor, std::span<const std::span<const std::byte>> columns,
            Targets targets) const;
  void mark_missing(const PipelineInput& input, std::span<const std::byte> column,
                    std::span<const RowTarget> rows) const;
  void check_finite(const FloatTensor& tensor, std::span<const RowTarget> rows) const;
  void fill_label(std::span<const std::byte> column, Targets targets) const;
  void fill_weights(std::span<const std::byte> column, Targets targets) const;
};

}  // namespace muster
