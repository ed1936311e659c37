#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "data_loader/feature_pipeline_state.h"

namespace muster {

namespace {

constexpr std::size_t kTile =
    64;  // rows that go through all columns before the next ones, to stay in the cache
constexpr const char* kFormat = "muster-pipeline-1";

Json describe(const Field& field) {
  return {{"field", field.name}, {"dtype", to_string(field.dtype)}, {"shape", field.shape}};
}

Json describe(const TensorSpec& tensor) {
  const bool floats = tensor.kind == TensorSpec::Kind::kFloat32;
  return {{"name", tensor.name}, {"kind", floats ? "float32" : "int64"}, {"shape", tensor.shape}};
}

std::string_view to_string(Missing missing) { return missing == Missing::kForbid ? "forbid" : "indicator"; }

std::string shape_text(const Json& shape) { return shape.empty() ? "one number" : canonical(shape); }

}  // namespace

namespace {

std::size_t index_of(const Contract& contract, const Field& field) {
  return static_cast<std::size_t>(&field - contract.fields().data());
}

}  // namespace

/// Decides tensors, columns and sources from the inputs' fields: what fit and from_json share.
void FeaturePipeline::State::lay_out(const Contract& contract) {
  FloatTensor features;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    PipelineInput& input = inputs[i];
    input.source = add_source(input.field);
    if (!input.spec.shape.empty()) continue;
    input.offset = feature_names.size();
    features.inputs.push_back(i);
    ensure(input.transform->width() == 1, "transform '{}' of field '{}' makes {} floats of one number",
           input.spec.transform, input.spec.name, input.transform->width());
    feature_names.push_back(input.spec.name);
    if (input.has_indicator()) feature_names.push_back(input.spec.name + ".missing");
  }
  features.width = feature_names.size();
  if (features.width > 0) {
    float_tensors.push_back(std::move(features));
    tensors.push_back(
        {"features", TensorSpec::Kind::kFloat32, {static_cast<std::int64_t>(feature_names.size())}});
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].spec.shape.empty()) add_array(i);
  }
  add_column(contract, Role::kLabel, label);
  add_column(contract, Role::kWeight, weight);
  if (label) {
    const auto kind = is_float(label->spec.dtype) ? TensorSpec::Kind::kFloat32 : TensorSpec::Kind::kInt64;
    label_tensor = tensors.size();
    tensors.push_back({"label", kind, {}});
  }
}

void FeaturePipeline::State::add_array(std::size_t input) {
  const Field& field = inputs[input].spec;
  ensure(!inputs[input].has_indicator(), "field '{}' is an array and has 'missing: indicator'", field.name);
  const std::size_t width = inputs[input].transform->width();
  ensure(width == field.values_per_row(), "transform '{}' of field '{}' makes {} floats of {}",
         field.transform, field.name, width, field.values_per_row());
  float_tensors.push_back({tensors.size(), width, {input}});
  std::vector<std::int64_t> shape(field.shape.begin(), field.shape.end());
  tensors.push_back({field.name, TensorSpec::Kind::kFloat32, std::move(shape)});
}

void FeaturePipeline::State::add_column(const Contract& contract, Role role,
                                        std::optional<PipelineColumn>& column) {
  const Field* field = contract.only(role);
  if (field == nullptr) return;
  ensure(field->shape.empty(), "the label or weight '{}' is an array", field->name);
  const std::size_t number = index_of(contract, *field);
  column = PipelineColumn{number, *field, add_source(number)};
}

FeaturePipeline::FeaturePipeline() : state_(std::make_unique<State>()) {}
FeaturePipeline::FeaturePipeline(FeaturePipeline&&) noexcept = default;
FeaturePipeline& FeaturePipeline::operator=(FeaturePipeline&&) noexcept = default;
FeaturePipeline::~FeaturePipeline() = default;

const std::vector<TensorSpec>& FeaturePipeline::tensors() const { return state_->tensors; }
const std::vector<std::string>& FeaturePipeline::feature_names() const { return state_->feature_names; }
const std::vector<std::size_t>& FeaturePipeline::source_fields() const { return state_->source_fields; }

std::vector<std::size_t> FeaturePipeline::select(const Contract& contract,
                                                 std::span<const std::string> features) {
  const auto never = [&](const Field& field) {
    return std::ranges::find(contract.never_features(), field.name) != contract.never_features().end();
  };
  std::set<std::size_t> chosen;
  for (const std::string& name : features) {
    const Field& field = contract.field(name);
    if (never(field)) {
      fail(ErrorCode::kConfig,
           "field '{}' is one of the contract's never_features; leave it out of the features", name);
    }
    if (field.role != Role::kFeature) {
      fail(ErrorCode::kConfig,
           "field '{}' is no feature by its role in the contract; leave it out of the features", name);
    }
    if (!chosen.insert(index_of(contract, field)).second) {
      fail(ErrorCode::kConfig, "field '{}' is named twice among the features", name);
    }
  }
  if (features.empty()) {
    for (const Field& field : contract.fields()) {
      if (field.role == Role::kFeature && !never(field)) chosen.insert(index_of(contract, field));
    }
  }
  if (chosen.empty())
    fail(ErrorCode::kConfig, "the contract has no field with role feature: nothing to learn from");
  return {chosen.begin(), chosen.end()};
}

FeaturePipeline FeaturePipeline::fit(const Contract& contract, std::vector<std::size_t> fields,
                                     std::span<const FieldStatistics> statistics) {
  ensure(fields.size() == statistics.size(), "{} fields and statistics of {}", fields.size(),
         statistics.size());
  FeaturePipeline pipeline;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Field& field = contract.fields().at(fields[i]);
    if (!std::isfinite(statistics[i].mean) || !std::isfinite(statistics[i].m2)) {
      fail(ErrorCode::kData,
           "field '{}' of the training split holds infinite values, or too large ones to square", field.name);
    }
    PipelineInput input{
        fields[i], field, statistics[i], transforms().get(field.transform).fit(field, statistics[i]), 0, 0};
    pipeline.state_->inputs.push_back(std::move(input));
  }
  pipeline.state_->lay_out(contract);
  return pipeline;
}

Json FeaturePipeline::to_json() const {
  Json inputs = Json::array();
  for (const PipelineInput& input : state_->inputs) {
    Json json = describe(input.spec);
    json["missing"] = to_string(input.spec.missing);
    json["transform"] = input.spec.transform;
    json["fitted"] = input.transform->to_json();
    json["statistics"] = input.statistics.to_json();
    inputs.push_back(std::move(json));
  }
  Json tensors = Json::array();
  for (const TensorSpec& tensor : state_->tensors) tensors.push_back(describe(tensor));
  return {{"format", kFormat},
          {"inputs", std::move(inputs)},
          {"label", state_->label ? describe(state_->label->spec) : Json()},
          {"weight", state_->weight ? describe(state_->weight->spec) : Json()},
          {"tensors", std::move(tensors)}};
}

namespace {

/// The field that the JSON describes, which the contract must have just so.
const Field& same_field(const Contract& contract, Role role, const Json& json, const std::string& where) {
  const auto name = member<std::string>(json, "field", where);
  const auto refuse = [&](const std::string& was, const std::string& is) {
    throw Error(
        ErrorCode::kConfig,
        fmt::format("field '{}' is {} in the pipeline and {} in the contract; use the contract that the "
                    "pipeline was fitted with",
                    name, was, is),
        where);
  };
  const Field* field = contract.find(name);
  if (field == nullptr) {
    refuse("there", "absent");
  } else {
    const auto dtype = member<std::string>(json, "dtype", where);
    const Json shape = member<Json>(json, "shape", where);
    if (dtype != to_string(field->dtype)) refuse(dtype, std::string(to_string(field->dtype)));
    if (shape != Json(field->shape)) refuse(shape_text(shape), shape_text(Json(field->shape)));
    if (field->role != role) refuse(role == Role::kFeature ? "a feature" : "label or weight", "another role");
    if (role == Role::kFeature) {
      const auto missing = member<std::string>(json, "missing", where);
      if (missing != to_string(field->missing)) {
        refuse("'missing: " + missing + "'", "'missing: " + std::string(to_string(field->missing)) + "'");
      }
    }
  }
  return *field;
}

/// The contract has a label (a weight) exactly if the JSON has that one.
void check_column(const Contract& contract, Role role, const char* key, const Json& json,
                  const std::string& where) {
  const Json column = member<Json>(json, key, where);
  if (!column.is_null()) {
    same_field(contract, role, column, where);
  } else if (const Field* field = contract.only(role)) {
    throw Error(
        ErrorCode::kConfig,
        fmt::format("field '{}' is the contract's {}, and the pipeline has none; use the contract that the "
                    "pipeline was fitted with",
                    field->name, key),
        where);
  }
}

}  // namespace

FeaturePipeline FeaturePipeline::from_json(const Contract& contract, const Json& json,
                                           const std::string& where) {
  const auto format = member<std::string>(json, "format", where);
  if (format != kFormat) {
    throw Error(ErrorCode::kStorage, fmt::format("has format '{}', this version reads '{}'", format, kFormat),
                where);
  }
  FeaturePipeline pipeline;
  for (const Json& item : member<std::vector<Json>>(json, "inputs", where)) {
    Field field = same_field(contract, Role::kFeature, item, where);
    const std::size_t number = index_of(contract, *contract.find(field.name));
    field.transform = member<std::string>(item, "transform", where);
    auto transform = transforms().get(field.transform).load(field, member<Json>(item, "fitted", where));
    const auto statistics = FieldStatistics::from_json(member<Json>(item, "statistics", where), where);
    pipeline.state_->inputs.push_back({number, std::move(field), statistics, std::move(transform), 0, 0});
  }
  check_column(contract, Role::kLabel, "label", json, where);
  check_column(contract, Role::kWeight, "weight", json, where);
  pipeline.state_->lay_out(contract);
  if (pipeline.to_json().at("tensors") != member<Json>(json, "tensors", where)) {
    throw Error(ErrorCode::kStorage, "'tensors' are not what the inputs make", where);
  }
  return pipeline;
}

}  // namespace muster
