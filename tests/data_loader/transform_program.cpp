// Fits the contract's pipeline to columns and applies it: {"contract": YAML, "columns": {field: [values]}} on
// stdin, what a batch of all rows holds on stdout, also through the pipeline's JSON form.

#include <cstring>
#include <iostream>
#include <iterator>
#include <numeric>

#include "data_loader/features/feature_pipeline.h"

using namespace muster;

namespace {

std::vector<std::byte> column_of(const Field& field, const Json& values) {
  std::vector<std::byte> column(values.size() * field.bytes_per_row());
  std::byte* out = column.data();
  for (const Json& value : values) {
    if (field.is_text()) {
      const auto text = value.get<std::string>();
      std::memcpy(out, text.data(), text.size());
      out += field.length;
      continue;
    }
    visit(field.dtype, [&]<typename T>(T*) {
      const auto put = [&](const Json& number) {
        const T raw = number.is_null() ? static_cast<T>(std::nan("")) : number.get<T>();
        std::memcpy(out, &raw, sizeof raw);
        out += sizeof raw;
      };
      if (!value.is_array()) return put(value);
      for (const Json& number : value) put(number);
    });
  }
  return column;
}

Json output_of(const FeaturePipeline& pipeline, const std::vector<std::vector<std::byte>>& columns,
               std::uint32_t rows) {
  Batch batch(pipeline.tensors(), rows, aligned_allocator());
  batch.set_rows(rows);
  std::vector<std::span<const std::byte>> sources;
  for (const std::size_t field : pipeline.source_fields()) sources.emplace_back(columns[field]);
  std::vector<FeaturePipeline::Target> targets;
  for (std::uint32_t row = 0; row < rows; ++row) targets.push_back({row, row, &batch});
  pipeline.scatter(sources, targets);
  Json json = {{"feature_names", pipeline.feature_names()}, {"category_names", pipeline.category_names()}};
  for (std::size_t tensor = 0; tensor < pipeline.tensors().size(); ++tensor) {
    const TensorSpec& spec = pipeline.tensors()[tensor];
    const std::size_t values = spec.values_per_row() * rows;
    if (spec.kind == TensorSpec::Kind::kFloat32) {
      json[spec.name] = std::vector<float>(batch.floats(tensor), batch.floats(tensor) + values);
    } else {
      json[spec.name] = std::vector<std::int64_t>(batch.integers(tensor), batch.integers(tensor) + values);
      json[spec.name + ".ids"] = spec.ids;
    }
  }
  return json;
}

}  // namespace

int main() {
  try {
    const Json input = Json::parse(std::string(std::istreambuf_iterator<char>(std::cin), {}));
    const Contract contract =
        Contract::parse(YamlNode::parse(input.at("contract").get<std::string>(), "contract"));
    std::vector<std::vector<std::byte>> columns;
    std::uint32_t rows = 0;
    for (const Field& field : contract.fields()) {
      columns.push_back(column_of(field, input.at("columns").at(field.name)));
      rows = static_cast<std::uint32_t>(columns.back().size() / field.bytes_per_row());
    }
    std::vector<std::uint32_t> all(rows);
    std::iota(all.begin(), all.end(), 0U);
    const auto fields = FeaturePipeline::select(contract, {});
    std::vector<FieldSummary> summaries;
    for (const std::size_t i : FeaturePipeline::to_summarize(contract, fields)) {
      const Field& field = contract.fields()[i];
      summaries.push_back(FieldSummary::of(field, needs_of(field), columns[i], all));
    }
    const FeaturePipeline pipeline = FeaturePipeline::fit(contract, fields, summaries);
    const Json output = output_of(pipeline, columns, rows);
    const Json kept = Json::parse(canonical(pipeline.to_json()));
    if (output_of(FeaturePipeline::from_json(contract, kept, "kept"), columns, rows) != output)
      throw Error(ErrorCode::kBug, "the pipeline's JSON form makes other values");
    Json result = output;
    result["label_scale"] = {pipeline.label_scale().mean, pipeline.label_scale().deviation};
    std::cout << result << "\n";
  } catch (const Error& error) {
    std::cout << Json{{"error", error.what()}, {"code", error.exit_code()}} << "\n";
  }
  return 0;
}
