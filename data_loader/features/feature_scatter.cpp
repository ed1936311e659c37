// The hot half of a FeaturePipeline: rows of blocks into rows of batches.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <type_traits>
#include <utility>

#include "data_loader/features/feature_pipeline_state.h"

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
    for (const InputTensor& tensor : state.input_tensors) state.fill(tensor, columns, tile);
    for (std::size_t i = 0; i < state.labels.size(); ++i)
      state.fill_label(i, columns[state.labels[i].source], tile);
    if (state.weight) {
      state.fill_weights(columns[state.weight->source], tile);
    } else {
      for (const Target& target : tile) target.batch->weights()[target.row_in_batch] = 1;
    }
  }
}

void FeaturePipeline::State::fill(const InputTensor& tensor,
                                  std::span<const std::span<const std::byte>> columns,
                                  Targets targets) const {
  std::array<RowTarget, kTile> places;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const Target& target = targets[i];
    places[i] = {target.row_in_block,
                 target.batch->data(tensor.tensor) + target.row_in_batch * tensor.row_bytes};
  }
  const std::span<const RowTarget> rows{places.data(), targets.size()};
  bool can_be_bad = false;
  bool ids_can_be_bad = false;
  for (const std::size_t number : tensor.inputs) {
    const PipelineInput& input = inputs[number];
    if (input.values) {
      apply_mapped(input, columns[input.source], rows);
    } else {
      input.transform->apply(columns[input.source], rows, input.offset);
    }
    can_be_bad = can_be_bad || (!input.has_ids() && (input.values || is_float(input.spec.dtype)));
    ids_can_be_bad = ids_can_be_bad || input.transform->ids_can_be_bad();
  }
  if (can_be_bad) check_finite(tensor, rows);
  if (ids_can_be_bad) check_ids(tensor, rows);
}

/// Through doubles: a tile of rows, mapped and imputed, stands for the block.
void FeaturePipeline::State::apply_mapped(const PipelineInput& input, std::span<const std::byte> column,
                                          std::span<const RowTarget> rows) const {
  const std::size_t width = input.spec.values_per_row();
  std::array<std::uint32_t, kTile> numbers;
  std::array<RowTarget, kTile> places;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    numbers[i] = rows[i].row_in_block;
    places[i] = {static_cast<std::uint32_t>(i), rows[i].out};
  }
  std::array<double, kTile> few;
  std::vector<double> many(width > 1 ? rows.size() * width : 0);
  const std::span<double> values = width > 1 ? std::span(many) : std::span(few).first(rows.size());
  input.values->read(column, {numbers.data(), rows.size()}, values);
  const std::size_t flag = input.offset + input.transform->width();
  for (std::size_t i = 0; i < rows.size() && input.imputes(); ++i) {
    const bool missing = std::isnan(values[i]);
    if (missing) values[i] = input.imputed;
    if (input.has_indicator()) rows[i].floats()[flag] = missing ? 1.0F : 0.0F;
  }
  input.transform->apply(std::as_bytes(values), {places.data(), rows.size()}, input.offset);
}

void FeaturePipeline::State::check_finite(const InputTensor& tensor, std::span<const RowTarget> rows) const {
  for (const RowTarget& row : rows) {
    if (!any_not_finite(row.floats(), tensor.row_bytes / sizeof(float))) continue;
    for (const std::size_t number : tensor.inputs) {
      const PipelineInput& input = inputs[number];
      if (!any_not_finite(row.floats() + input.offset, input.transform->width())) continue;
      throw BadValue(
          fmt::format("a value of field '{}' is NaN, infinite, too large for a float32, or nothing that its "
                      "transforms can take; mend the data, or declare 'missing: indicator' where NaN means "
                      "missing",
                      input.spec.name),
          input.spec, input.field, row.row_in_block);
    }
  }
}

void FeaturePipeline::State::check_ids(const InputTensor& tensor, std::span<const RowTarget> rows) const {
  for (const std::size_t number : tensor.inputs) {
    const PipelineInput& input = inputs[number];
    const std::int64_t ids = input.transform->ids();
    for (const RowTarget& row : rows) {
      const std::span values(row.ids() + input.offset, input.transform->width());
      const auto bad = std::ranges::find_if(values, [&](std::int64_t id) { return id < 0 || id >= ids; });
      if (bad == values.end()) continue;
      throw BadValue(
          fmt::format("a value of field '{}' is {}, which is none of its {} ids; mend the data, or "
                      "give the transform a larger `size`",
                      input.spec.name, *bad, ids),
          input.spec, input.field, row.row_in_block);
    }
  }
}

void FeaturePipeline::State::fill_label(std::size_t number, std::span<const std::byte> column,
                                        Targets targets) const {
  const Field& field = labels[number].spec;
  const std::size_t width = field.values_per_row();  // 1 where there are several labels
  const std::size_t row_width = tensors[label_tensor].values_per_row();
  const bool floats = tensors[label_tensor].kind == TensorSpec::Kind::kFloat32;
  visit(field.dtype, [&]<typename T>(T*) {
    using Out = std::conditional_t<std::is_floating_point_v<T>, float, std::int64_t>;
    const auto* column_values = reinterpret_cast<const T*>(column.data());
    for (const Target& target : targets) {
      const std::span<const T> values(column_values + target.row_in_block * width, width);
      const std::size_t place = target.row_in_batch * row_width + number;
      for (std::size_t i = 0; i < width; ++i) {
        const T value = values[i];
        const auto out = static_cast<Out>(value);
        if (floats) {
          target.batch->floats(label_tensor)[place + i] = static_cast<float>(value);
        } else {
          target.batch->integers(label_tensor)[place + i] = static_cast<std::int64_t>(out);
        }
        bool good = true;
        if constexpr (std::is_floating_point_v<T>) {
          good = std::isfinite(out);
        } else {
          good = std::in_range<std::int64_t>(value);
        }
        if (good) continue;
        throw BadValue(fmt::format("the label '{}' is {}, which is not finite or too large; mend the data",
                                   field.name, value),
                       field, labels[number].field, target.row_in_block);
      }
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
