// The hot half of a FeaturePipeline: rows of blocks into rows of batches.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <type_traits>
#include <utility>

#include "data_loader/feature_pipeline_state.h"

namespace muster {

namespace {

constexpr std::size_t kTile =
    64;  // rows that go through all columns before the next ones, to stay in the cache

/// Whether any of the floats is NaN or infinite: all bits of the exponent are set. Branch-free in runs of 16.
bool any_not_finite(const float* values, std::size_t count) {
  constexpr std::uint32_t kExponent = 0x7f800000;
  const auto bad = [](float value) {
    return static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent);
  };
  std::uint32_t found = 0;
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (std::size_t k = 0; k < 16; ++k) found |= bad(values[i + k]);
  }
  for (; i < count; ++i) found |= bad(values[i]);
  return found != 0;
}

}  // namespace

void FeaturePipeline::scatter(std::span<const std::span<const std::byte>> columns,
                              std::span<const Target> targets) const {
  const State& state = *state_;
  ensure(columns.size() == state.source_fields.size(), "{} columns for a pipeline that reads {}",
         columns.size(), state.source_fields.size());
  while (!targets.empty()) {
    const std::span<const Target> tile = targets.first(std::min(kTile, targets.size()));
    targets = targets.subspan(tile.size());
    for (const FloatTensor& tensor : state.float_tensors) state.fill(tensor, columns, tile);
    if (state.label) state.fill_label(columns[state.label->source], tile);
    if (state.weight) {
      state.fill_weights(columns[state.weight->source], tile);
    } else {
      for (const Target& target : tile) target.batch->weights()[target.row_in_batch] = 1;
    }
  }
}

void FeaturePipeline::State::fill(const FloatTensor& tensor,
                                  std::span<const std::span<const std::byte>> columns,
                                  Targets targets) const {
  std::array<RowTarget, kTile> places;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const Target& target = targets[i];
    places[i] = {target.row_in_block,
                 target.batch->floats(tensor.tensor) + target.row_in_batch * tensor.width};
  }
  const std::span<const RowTarget> rows{places.data(), targets.size()};
  bool can_be_bad = false;
  for (const std::size_t number : tensor.inputs) {
    const PipelineInput& input = inputs[number];
    input.transform->apply(columns[input.source], rows, input.offset);
    if (input.has_indicator()) mark_missing(input, columns[input.source], rows);
    can_be_bad = can_be_bad || is_float(input.spec.dtype);
  }
  if (can_be_bad) check_finite(tensor, rows);
}

void FeaturePipeline::State::mark_missing(const PipelineInput& input, std::span<const std::byte> column,
                                          std::span<const RowTarget> rows) const {
  visit(input.spec.dtype, [&]<typename T>(T*) {
    const auto* values = reinterpret_cast<const T*>(column.data());
    for (const RowTarget& row : rows) {
      float* out = row.out + input.offset;
      bool missing = false;
      if constexpr (std::is_floating_point_v<T>) missing = std::isnan(values[row.row_in_block]);
      out[0] = missing ? 0.0F : out[0];
      out[1] = missing ? 1.0F : 0.0F;
    }
  });
}

void FeaturePipeline::State::check_finite(const FloatTensor& tensor, std::span<const RowTarget> rows) const {
  for (const RowTarget& row : rows) {
    if (!any_not_finite(row.out, tensor.width)) continue;
    for (const std::size_t number : tensor.inputs) {
      const PipelineInput& input = inputs[number];
      if (!any_not_finite(row.out + input.offset, input.transform->width())) continue;
      throw BadValue(
          fmt::format("a value of field '{}' is NaN, infinite or too large for a float32; mend the data, or "
                      "declare 'missing: indicator' where NaN means missing",
                      input.spec.name),
          input.spec, input.field, row.row_in_block);
    }
  }
}

void FeaturePipeline::State::fill_label(std::span<const std::byte> column, Targets targets) const {
  const Field& field = label->spec;
  visit(field.dtype, [&]<typename T>(T*) {
    using Out = std::conditional_t<std::is_floating_point_v<T>, float, std::int64_t>;
    const auto* values = reinterpret_cast<const T*>(column.data());
    for (const Target& target : targets) {
      const T value = values[target.row_in_block];
      const auto out = static_cast<Out>(value);
      reinterpret_cast<Out*>(target.batch->data(label_tensor))[target.row_in_batch] = out;
      bool good = true;
      if constexpr (std::is_floating_point_v<T>) {
        good = std::isfinite(out);
      } else {
        good = std::in_range<std::int64_t>(value);
      }
      if (good) continue;
      throw BadValue(fmt::format("the label '{}' is {}, which is not finite or too large; mend the data",
                                 field.name, value),
                     field, label->field, target.row_in_block);
    }
  });
}

void FeaturePipeline::State::fill_weights(std::span<const std::byte> column, Targets targets) const {
  const Field& field = weight->spec;
  visit(field.dtype, [&]<typename T>(T*) {
    const auto* values = reinterpret_cast<const T*>(column.data());
    for (const Target& target : targets) {
      const auto value = static_cast<float>(values[target.row_in_block]);
      if (!std::isfinite(value) || value < 0) {
        throw BadValue(fmt::format("the weight '{}' is {}; a weight is finite and at least 0; mend the data",
                                   field.name, value),
                       field, weight->field, target.row_in_block);
      }
      target.batch->weights()[target.row_in_batch] = value;
    }
  });
}

}  // namespace muster
