// A FeaturePipeline's JSON form: docs/pipeline.md.
#include <algorithm>
#include <utility>

#include "core/yaml.h"
#include "data_loader/features/feature_pipeline_state.h"

namespace muster {

namespace {

constexpr const char* kFormat = "muster-pipeline-2";

Json describe(const Field& field) {
  Json json = {{"field", field.name}, {"dtype", to_string(field.dtype)}, {"shape", field.shape}};
  if (field.is_text()) json["length"] = field.length;
  return json;
}

Json describe(const TensorSpec& tensor) {
  const bool floats = tensor.kind == TensorSpec::Kind::kFloat32;
  Json json = {{"name", tensor.name}, {"kind", floats ? "float32" : "int64"}, {"shape", tensor.shape}};
  if (!tensor.ids.empty()) json["ids"] = tensor.ids;
  return json;
}

Json describe(const std::vector<TransformStep>& steps) {
  Json json = Json::array();
  for (const TransformStep& step : steps) json.push_back({{"name", step.name}, {"options", step.options}});
  return json;
}

std::string shape_text(const Json& shape) { return shape.empty() ? "one number" : canonical(shape); }

}  // namespace

Json FeaturePipeline::to_json() const {
  Json inputs = Json::array();
  for (const PipelineInput& input : state_->inputs) {
    Json json = describe(input.spec);
    json["missing"] = to_string(input.spec.missing);
    if (input.spec.missing_value) json["missing_value"] = *input.spec.missing_value;
    json["transforms"] = describe(input.spec.transform);
    if (input.imputes()) json["imputed"] = input.imputed;
    json["fitted"] = input.transform->to_json();
    json["statistics"] = input.statistics.to_json();
    inputs.push_back(std::move(json));
  }
  Json tensors = Json::array();
  for (const TensorSpec& tensor : state_->tensors) tensors.push_back(describe(tensor));
  Json label = Json::array();
  for (std::size_t i = 0; i < state_->labels.size(); ++i) {
    Json json = describe(state_->labels[i].spec);
    json["mean"] = state_->learned[i].scale.mean;
    json["deviation"] = state_->learned[i].scale.deviation;
    label.push_back(std::move(json));
  }
  if (label.size() < 2) label = label.empty() ? Json() : Json(label.front());
  return {{"format", kFormat},
          {"inputs", std::move(inputs)},
          {"label", std::move(label)},
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
    if (field->is_text() && member<std::uint64_t>(json, "length", where) != field->length)
      refuse("a text of another length", fmt::format("of {} bytes", field->length));
    if (role == Role::kFeature ? field->transform.empty() : field->role != role)
      refuse(role == Role::kFeature ? "a feature" : "label or weight", "another role");
    if (role == Role::kFeature) {
      const Json stands = json.contains("missing_value") ? json.at("missing_value") : Json();
      if (stands != (field->missing_value ? Json(*field->missing_value) : Json()))
        refuse("missing where it is " + stands.dump(), "otherwise");
      const auto missing = member<std::string>(json, "missing", where);
      if (missing != to_string(field->missing)) {
        refuse(fmt::format("'missing: {}'", missing),
               fmt::format("'missing: {}'", to_string(field->missing)));
      }
    }
  }
  return *field;
}

/// The contract has `columns`, and has none of that role if they are none. Of several labels a pipeline may
/// have some.
void check_columns(const Contract& contract, Role role, const char* key, const std::vector<Json>& columns,
                   const std::string& where) {
  for (const Json& column : columns) same_field(contract, role, column, where);
  const Field* field = contract.only(role);
  if (columns.empty() && field != nullptr) {
    throw Error(
        ErrorCode::kConfig,
        fmt::format("field '{}' is the contract's {}, and the pipeline has none; use the contract that the "
                    "pipeline was fitted with",
                    field->name, key),
        where);
  }
}

std::vector<TransformStep> load_steps(const Json& json, const std::string& where) {
  std::vector<TransformStep> steps;
  for (const Json& step : member<std::vector<Json>>(json, "transforms", where)) {
    steps.push_back({member<std::string>(step, "name", where), member<Json>(step, "options", where)});
    // Options as the contract's parser would have made them: what a damaged file says must not reach a
    // transform.
    const TransformFactory& factory = transforms().get(steps.back().name);
    const Result<Json> checked = attempt([&] {
      const YamlNode node = YamlNode::parse(to_yaml(steps.back().options), where);
      return read_options(factory.options, node.is_map() ? &node : nullptr);
    });
    if (!checked.ok() || checked.value() != steps.back().options)
      throw Error(ErrorCode::kStorage,
                  fmt::format("the options of transform '{}' are not what it takes", steps.back().name),
                  where);
  }
  if (steps.empty()) throw Error(ErrorCode::kStorage, "an input has no transforms", where);
  return steps;
}

PipelineInput load_input(const Contract& contract, const Json& json, const std::string& where) {
  Field field = same_field(contract, Role::kFeature, json, where);
  PipelineInput input;
  input.field = static_cast<std::size_t>(contract.find(field.name) - contract.fields().data());
  field.transform = load_steps(json, where);
  const TransformStep& step = fitted_step(field);
  input.transform = transforms().get(step.name).load(as_transformed(field), step.options,
                                                     member<Json>(json, "fitted", where));
  input.statistics = FieldStatistics::from_json(member<Json>(json, "statistics", where), where);
  input.spec = std::move(field);
  if (input.imputes()) input.imputed = member<double>(json, "imputed", where);
  return input;
}

void check_format(const Json& json, const std::string& where) {
  const auto format = member<std::string>(json, "format", where);
  if (format == kFormat) return;
  throw Error(ErrorCode::kStorage, fmt::format("has format '{}', this version reads '{}'", format, kFormat),
              where);
}

/// null: none; an object: one; a list: several.
std::vector<Json> columns_at(const Json& json, const char* key, const std::string& where) {
  const Json column = member<Json>(json, key, where);
  if (column.is_null()) return {};
  if (!column.is_array()) return {column};
  if (column.size() < 2)
    throw Error(ErrorCode::kStorage, fmt::format("'{}' is a list of fewer than two", key), where);
  return column.get<std::vector<Json>>();
}

std::vector<TargetLabel> load_targets(const std::vector<Json>& labels, const std::string& where) {
  std::vector<TargetLabel> targets;
  for (const Json& label : labels) {
    const auto name = member<std::string>(label, "field", where);
    const LabelScale scale{member<double>(label, "mean", where), member<double>(label, "deviation", where)};
    if (!(scale.deviation > 0))
      throw Error(ErrorCode::kStorage, "the label's 'deviation' is not greater than 0", where);
    if (std::ranges::find(targets, name, &TargetLabel::name) != targets.end())
      throw Error(ErrorCode::kStorage, fmt::format("has the label '{}' twice", name), where);
    targets.push_back({name, scale});
  }
  return targets;
}

std::vector<PipelineInput> load_inputs(const Contract& contract, const Json& json, const std::string& where) {
  std::vector<PipelineInput> inputs;
  for (const Json& item : member<std::vector<Json>>(json, "inputs", where))
    inputs.push_back(load_input(contract, item, where));
  return inputs;
}

/// `made` are the tensors that `json` says, all or only those that are made of inputs.
void check_tensors(const std::vector<TensorSpec>& made, const Json& json, bool with_label,
                   const std::string& where) {
  Json ours = Json::array();
  for (const TensorSpec& tensor : made) ours.push_back(describe(tensor));
  Json theirs = Json::array();
  for (const Json& tensor : member<std::vector<Json>>(json, "tensors", where)) {
    if (with_label || !tensor.is_object() || tensor.value("name", Json()) != "label")
      theirs.push_back(tensor);
  }
  if (ours != theirs) throw Error(ErrorCode::kStorage, "'tensors' are not what the inputs make", where);
}

}  // namespace

FeaturePipeline FeaturePipeline::from_json(const Contract& contract, const Json& json,
                                           const std::string& where) {
  check_format(json, where);
  FeaturePipeline pipeline;
  pipeline.state_->inputs = load_inputs(contract, json, where);
  const std::vector<Json> labels = columns_at(json, "label", where);
  check_columns(contract, Role::kLabel, "label", labels, where);
  const Json weight = member<Json>(json, "weight", where);
  check_columns(contract, Role::kWeight, "weight",
                weight.is_null() ? std::vector<Json>() : std::vector<Json>{weight}, where);
  pipeline.state_->learned = load_targets(labels, where);
  pipeline.state_->lay_out(contract);
  check_tensors(pipeline.tensors(), json, true, where);
  return pipeline;
}

FeaturePipeline FeaturePipeline::for_scoring(const Contract& contract, const Json& json,
                                             const std::string& where) {
  check_format(json, where);
  FeaturePipeline pipeline;
  pipeline.state_->inputs = load_inputs(contract, json, where);
  pipeline.state_->learned = load_targets(columns_at(json, "label", where), where);
  pipeline.state_->lay_out_inputs();
  check_tensors(pipeline.tensors(), json, false, where);
  return pipeline;
}

}  // namespace muster
