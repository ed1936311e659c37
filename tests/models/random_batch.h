#pragma once
// Batches whose rows depend on nothing but their position and step, so that any part of a global batch can be
// made alone.

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/random.h"
#include "models/model.h"

namespace muster::testing {

/// Float inputs, then a label: int64 below `classes`, or float when `classes` is 0.
inline std::vector<TensorSpec> specs_of(std::vector<TensorSpec> inputs, std::int64_t classes) {
  const auto kind = classes == 0 ? TensorSpec::Kind::kFloat32 : TensorSpec::Kind::kInt64;
  inputs.push_back({std::string(kLabelTensor), kind, {}});
  return inputs;
}

/// The rows at these positions of step `step`; weights from 0.5 to 1.5.
inline Batch batch_at(const std::vector<TensorSpec>& specs, std::int64_t classes, std::uint64_t step,
                      std::span<const std::uint32_t> positions) {
  Batch batch(specs, positions.size(), aligned_allocator());
  batch.set_rows(positions.size());
  batch.step = step;
  for (std::size_t row = 0; row < positions.size(); ++row) {
    RandomStream stream(random_key(11, Purpose::kGenerate, {step, positions[row]}));
    batch.positions()[row] = positions[row];
    batch.weights()[row] = static_cast<float>(0.5 + stream.uniform());
    for (std::size_t tensor = 0; tensor < specs.size(); ++tensor) {
      const std::size_t values = specs[tensor].values_per_row();
      for (std::size_t i = row * values; i < (row + 1) * values; ++i) {
        if (specs[tensor].kind == TensorSpec::Kind::kFloat32) {
          batch.floats(tensor)[i] = static_cast<float>(stream.normal());
        } else {
          batch.integers(tensor)[i] =
              static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(classes)));
        }
      }
    }
  }
  return batch;
}

/// Positions [first, last).
inline std::vector<std::uint32_t> range(std::uint32_t first, std::uint32_t last) {
  std::vector<std::uint32_t> positions;
  for (std::uint32_t position = first; position < last; ++position) positions.push_back(position);
  return positions;
}

/// A model's options: the registered defaults, overwritten by `changes`.
inline Json options_of(const std::string& model, const Json& changes) {
  Json options = Json::object();
  for (const Option& option : models().get(model).options) options[option.name] = option.fallback;
  for (const auto& [key, value] : changes.items()) options.at(key) = value;
  return options;
}

}  // namespace muster::testing
