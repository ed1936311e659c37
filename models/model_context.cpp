#include "core/text.h"
#include "models/model.h"

namespace muster {

namespace {

std::string names_of(const std::vector<TensorSpec>& tensors, bool with_label) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : tensors) {
    if (with_label || spec.name != kLabelTensor) names.push_back(spec.name);
  }
  return names.empty() ? "none" : join(names, ", ");
}

}  // namespace

const TensorSpec& ModelContext::tensor(std::string_view name) const {
  for (const TensorSpec& spec : tensors) {
    if (spec.name == name) return spec;
  }
  fail(ErrorCode::kConfig, "a batch has no tensor '{}'; it has: {}", name, names_of(tensors, true));
}

std::vector<const TensorSpec*> ModelContext::inputs() const {
  std::vector<const TensorSpec*> inputs;
  for (const TensorSpec& spec : tensors) {
    if (spec.name != kLabelTensor) inputs.push_back(&spec);
  }
  return inputs;
}

const TensorSpec& ModelContext::only_input() const {
  const auto all = inputs();
  if (all.size() == 1) return *all.front();
  fail(ErrorCode::kConfig,
       "this model takes one input tensor, the data gives {}: {}; name one in data.features", all.size(),
       names_of(tensors, false));
}

}  // namespace muster
