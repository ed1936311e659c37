#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "core/text.h"
#include "data_loader/features/feature_pipeline_state.h"

namespace muster {

namespace {

std::size_t index_of(const Contract& contract, const Field& field) {
  return static_cast<std::size_t>(&field - contract.fields().data());
}

/// What stands for a missing value, after the maps.
double imputed_value(const Field& field, const FieldSummary& summary) {
  switch (field.impute.kind) {
    case Imputation::Kind::kMean:
      return summary.numbers.mean;
    case Imputation::Kind::kMedian:
      return summary.quantiles ? summary.quantiles->quantile(0.5) : 0;
    case Imputation::Kind::kMode:
      if (!summary.quantiles) return 0;
      if (!summary.quantiles->exact())
        fail(ErrorCode::kConfig,
             "field '{}' has more than {} different values in the training split: its mode says little; "
             "`impute: median`",
             field.name, QuantileSketch::kMost);
      return summary.quantiles->mode();
    case Imputation::Kind::kValue:
      break;
  }
  return ColumnValues(field).map(field.impute.value);
}

LabelScale scale_of(const FieldStatistics& label) {
  const double deviation = label.minimum == label.maximum ? 0 : std::sqrt(label.variance());
  return {label.count > 0 ? label.mean : 0, std::isnormal(deviation) ? deviation : 1};
}

}  // namespace

bool reads_doubles(const Field& field) {
  const TransformFactory& last = transforms().get(field.transform.back().name);
  if (last.reads == TransformFactory::Reads::kRaw) return false;
  return last.reads == TransformFactory::Reads::kDoubles || last.map || field.transform.size() > 1 ||
         field.can_be_missing();
}

Field as_transformed(const Field& field) {
  Field result = field;
  if (!reads_doubles(field)) return result;
  result.dtype = DType::kFloat64;
  result.missing_value.reset();
  return result;
}

const TransformStep& fitted_step(const Field& field) {
  static const TransformStep as_it_is{"none", Json::object()};
  const TransformStep& last = field.transform.back();
  return transforms().get(last.name).map ? as_it_is : last;
}

/// Decides tensors, columns and sources from the inputs' fields: what fit and from_json share.
void FeaturePipeline::State::lay_out_inputs() {
  for (PipelineInput& input : inputs) {
    input.source = add_source(input.field);
    if (reads_doubles(input.spec)) input.values.emplace(input.spec);
  }
  add_numbers();
  add_categories();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].spec.shape.empty()) add_array(i);
  }
}

void FeaturePipeline::State::lay_out(const Contract& contract) {
  lay_out_inputs();
  add_labels(contract);
  if (const Field* field = contract.only(Role::kWeight)) weight = column_of(contract, *field);
}

/// "label": an only one as it is, of several a column each; integers only where all are.
void FeaturePipeline::State::add_labels(const Contract& contract) {
  if (learned.empty()) return;
  auto kind = TensorSpec::Kind::kInt64;
  for (const TargetLabel& target : learned) {
    labels.push_back(column_of(contract, contract.field(target.name)));
    const Field& field = labels.back().spec;
    if (is_float(field.dtype)) kind = TensorSpec::Kind::kFloat32;
    if (!field.shape.empty() && learned.size() > 1)
      fail(ErrorCode::kConfig,
           "the label '{0}' is an array, which is learned alone: `data.labels: [{0}]` chooses it, or name "
           "others there",
           field.name);
  }
  label_tensor = tensors.size();
  const auto& shape = labels.front().spec.shape;
  TensorSpec spec{"label", kind, {shape.begin(), shape.end()}, {}};
  if (labels.size() > 1) spec.shape = {static_cast<std::int64_t>(labels.size())};
  tensors.push_back(std::move(spec));
}

/// "features": what makes floats of one number per row.
void FeaturePipeline::State::add_numbers() {
  InputTensor features{tensors.size()};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    PipelineInput& input = inputs[i];
    if (!input.spec.shape.empty() || input.has_ids()) continue;
    input.offset = feature_names.size();
    features.inputs.push_back(i);
    const std::vector<std::string> names = input.transform->names(input.spec);
    ensure(names.size() == input.transform->width(), "transform '{}' of field '{}' has {} names of {} values",
           input.spec.transform.back().name, input.spec.name, names.size(), input.transform->width());
    feature_names.insert(feature_names.end(), names.begin(), names.end());
    if (input.has_indicator()) feature_names.push_back(input.spec.name + ".missing");
  }
  if (feature_names.empty()) return;
  features.row_bytes = feature_names.size() * sizeof(float);
  input_tensors.push_back(std::move(features));
  tensors.push_back(
      {"features", TensorSpec::Kind::kFloat32, {static_cast<std::int64_t>(feature_names.size())}, {}});
}

/// "categories": what makes ids.
void FeaturePipeline::State::add_categories() {
  InputTensor categories{tensors.size()};
  TensorSpec spec{"categories", TensorSpec::Kind::kInt64, {}, {}};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    PipelineInput& input = inputs[i];
    if (!input.has_ids() || !input.spec.shape.empty()) continue;
    ensure(input.transform->width() == 1, "field '{}' makes {} ids a row", input.spec.name,
           input.transform->width());
    input.offset = category_names.size();
    categories.inputs.push_back(i);
    category_names.push_back(input.spec.name);
    spec.ids.push_back(input.transform->ids());
  }
  if (category_names.empty()) return;
  spec.shape = {static_cast<std::int64_t>(category_names.size())};
  categories.row_bytes = category_names.size() * sizeof(std::int64_t);
  input_tensors.push_back(std::move(categories));
  tensors.push_back(std::move(spec));
}

void FeaturePipeline::State::add_array(std::size_t input) {
  const Field& field = inputs[input].spec;
  ensure(!field.can_be_missing(), "field '{}' is an array, and has missing values", field.name);
  const std::size_t width = inputs[input].transform->width();
  ensure(width == field.values_per_row(), "transform '{}' of field '{}' makes {} values of {}",
         field.transform.back().name, field.name, width, field.values_per_row());
  TensorSpec spec{field.name, TensorSpec::Kind::kFloat32, {field.shape.begin(), field.shape.end()}, {}};
  if (inputs[input].has_ids()) {
    spec.kind = TensorSpec::Kind::kInt64;
    spec.ids = {inputs[input].transform->ids()};
  }
  input_tensors.push_back({tensors.size(), spec.bytes_per_row(), {input}});
  tensors.push_back(std::move(spec));
}

PipelineColumn FeaturePipeline::State::column_of(const Contract& contract, const Field& field) {
  ensure(field.shape.empty() || field.role == Role::kLabel, "the weight '{}' is an array", field.name);
  const std::size_t number = index_of(contract, field);
  return {number, field, add_source(number)};
}

FeaturePipeline::FeaturePipeline() : state_(std::make_unique<State>()) {}
FeaturePipeline::FeaturePipeline(FeaturePipeline&&) noexcept = default;
FeaturePipeline& FeaturePipeline::operator=(FeaturePipeline&&) noexcept = default;
FeaturePipeline::~FeaturePipeline() = default;

const std::vector<TensorSpec>& FeaturePipeline::tensors() const { return state_->tensors; }
const std::vector<std::string>& FeaturePipeline::feature_names() const { return state_->feature_names; }
const std::vector<std::string>& FeaturePipeline::category_names() const { return state_->category_names; }
const std::vector<TargetLabel>& FeaturePipeline::targets() const { return state_->learned; }
LabelScale FeaturePipeline::label_scale() const {
  return state_->learned.empty() ? LabelScale{} : state_->learned.front().scale;
}
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
    if (field.transform.empty()) {
      fail(ErrorCode::kConfig,
           "field '{}' is no feature by its role in the contract; leave it out of the features", name);
    }
    if (!chosen.insert(index_of(contract, field)).second) {
      fail(ErrorCode::kConfig, "field '{}' is named twice among the features", name);
    }
  }
  if (features.empty()) {
    for (const Field& field : contract.fields()) {
      if (!field.transform.empty() && !never(field)) chosen.insert(index_of(contract, field));
    }
  }
  if (chosen.empty())
    fail(ErrorCode::kConfig, "the contract has no field with role feature: nothing to learn from");
  return {chosen.begin(), chosen.end()};
}

std::vector<std::size_t> FeaturePipeline::select_labels(const Contract& contract,
                                                        std::span<const std::string> labels) {
  std::vector<std::size_t> all = contract.labels();
  if (labels.empty()) return all;
  std::vector<std::string> known;
  for (const std::size_t label : all) known.push_back(contract.fields()[label].name);
  std::set<std::size_t> chosen;
  for (const std::string& name : labels) {
    const Field* field = contract.find(name);
    if (field == nullptr || field->role != Role::kLabel) {
      fail(ErrorCode::kConfig, "data.labels: '{}' is no field with `role: label`{}; the contract has: {}",
           name, did_you_mean(name, known), known.empty() ? "none" : join(known, ", "));
    }
    if (!chosen.insert(index_of(contract, *field)).second)
      fail(ErrorCode::kConfig, "data.labels: '{}' is named twice", name);
  }
  return {chosen.begin(), chosen.end()};
}

std::vector<std::size_t> FeaturePipeline::to_summarize(const Contract& contract,
                                                       std::vector<std::size_t> fields,
                                                       std::span<const std::string> labels) {
  const std::vector<std::size_t> chosen = select_labels(contract, labels);
  // A class or a truth has no scale; but of several targets none may drown the others.
  const Field* only = chosen.size() == 1 ? &contract.fields()[chosen.front()] : nullptr;
  if (only != nullptr && only->shape.empty() && !is_float(only->dtype)) return fields;
  fields.insert(fields.end(), chosen.begin(), chosen.end());
  return fields;
}

FeaturePipeline FeaturePipeline::fit(const Contract& contract, const std::vector<std::size_t>& fields,
                                     std::span<const FieldSummary> summaries,
                                     std::span<const std::string> labels) {
  const std::size_t wanted = to_summarize(contract, fields, labels).size();
  ensure(wanted == summaries.size(), "{} fields and summaries of {}", wanted, summaries.size());
  FeaturePipeline pipeline;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Field& field = contract.fields().at(fields[i]);
    const FieldStatistics& numbers = summaries[i].numbers;
    if (!std::isfinite(numbers.mean) || !std::isfinite(numbers.m2)) {
      fail(
          ErrorCode::kData,
          "field '{}' of the training split holds values that are infinite, too large to square, or that its "
          "transforms cannot take",
          field.name);
    }
    const TransformStep& step = fitted_step(field);
    auto transform = transforms().get(step.name).fit(as_transformed(field), step.options, summaries[i]);
    PipelineInput input{fields[i], field, numbers, 0, std::move(transform)};
    if (input.imputes()) input.imputed = imputed_value(field, summaries[i]);
    pipeline.state_->inputs.push_back(std::move(input));
  }
  const std::vector<std::size_t> chosen = select_labels(contract, labels);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::size_t summary = fields.size() + i;
    pipeline.state_->learned.push_back(
        {contract.fields()[chosen[i]].name,
         summary < summaries.size() ? scale_of(summaries[summary].numbers) : LabelScale{}});
  }
  pipeline.state_->lay_out(contract);
  return pipeline;
}

}  // namespace muster
