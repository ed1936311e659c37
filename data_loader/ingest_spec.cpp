#include "data_loader/ingest_spec.h"

#include <algorithm>
#include <limits>

#include "core/file_system.h"
#include "core/text.h"

namespace muster {
namespace {

std::string describe(const Field& field) {
  std::vector<std::string> extents;
  for (const std::uint64_t extent : field.shape) extents.push_back(std::to_string(extent));
  return fmt::format("{} [{}]", to_string(field.dtype), join(extents, ", "));
}

void read_contract(const YamlNode& node, const std::filesystem::path& base, IngestSpec& spec) {
  if (node.is_map()) {
    spec.contract = Contract::parse(node);
    spec.contract_yaml = spec.contract.to_yaml();
  } else {
    const std::filesystem::path file = base / node.as_string();
    spec.contract_yaml = make_posix_file_system()->read_text(file);
    spec.contract = Contract::parse(YamlNode::parse(spec.contract_yaml, file.string()));
  }
  if (!spec.contract.partitions().empty())
    node.fail_here("names partitions that lie elsewhere (`partitions:`): `ingest` makes its own");
  for (const Field& field : spec.contract.fields()) {
    if (!field.member.empty())
      node.fail_here(fmt::format(
          "'{}' is a member of compound rows, which `ingest` does not write: leave `member` out, and let "
          "`datasets` of the source say it",
          field.name));
  }
  const auto stored = attempt([&] { return spec.contract.stored_fields(); });
  if (!stored) node.fail_here(stored.error().message());
  spec.stored = stored.value();
}

/// Which of the contract's fields gets row numbers; it must be able to hold them.
std::optional<std::size_t> row_number_field(const YamlNode& document, const Contract& contract) {
  const YamlNode* node = document.find("row_number");
  if (node == nullptr) return std::nullopt;
  const Field* field = contract.find(node->as_string());
  if (field == nullptr) node->fail_here(fmt::format("the contract has no field '{}'", node->as_string()));
  if (field->dtype != DType::kInt64 || !field->shape.empty()) {
    node->fail_here(
        fmt::format("the field '{}' must be int64 without a shape to hold row numbers", field->name));
  }
  return static_cast<std::size_t>(field - contract.fields().data());
}

/// Finds the source's column of every field of the contract, and refuses columns that are none.
std::vector<std::optional<std::size_t>> match(const YamlNode& node, const RowSource& source,
                                              const std::vector<Field>& fields,
                                              std::optional<std::size_t> row_number) {
  std::vector<std::optional<std::size_t>> columns;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    if (i == row_number) {
      columns.emplace_back();
      continue;
    }
    const auto& given = source.fields();
    const auto found =
        std::find_if(given.begin(), given.end(), [&](const Field& g) { return g.name == field.name; });
    if (found == given.end())
      node.fail_here(fmt::format("gives no '{}', which the contract has", field.name));
    if (found->dtype != field.dtype || found->shape != field.shape) {
      node.fail_here(fmt::format("'{}' is {} here and {} in the contract", field.name, describe(*found),
                                 describe(field)));
    }
    columns.emplace_back(static_cast<std::size_t>(found - given.begin()));
  }
  for (std::size_t i = 0; i < source.fields().size(); ++i) {
    if (std::find(columns.begin(), columns.end(), i) != columns.end()) continue;
    const std::string& name = source.fields()[i].name;
    std::vector<std::string> names;
    for (const Field& field : fields) names.push_back(field.name);
    node.fail_here(fmt::format("gives '{}', which the contract has not{}", name, did_you_mean(name, names)));
  }
  return columns;
}

void read_sources(const YamlNode& list, const IngestContext& context, IngestSpec& spec) {
  for (const YamlNode& node : list.items()) {
    const YamlNode& name = node.require("format");
    const Result<IngestFormat> format = attempt([&] { return ingest_formats().get(name.as_string()); });
    if (!format) name.fail_here(format.error().message());
    IngestSpec::Source source{format.value().open(node, context), {}};
    node.refuse_unread();
    source.column_of_field = match(node, *source.rows, spec.stored, spec.row_number);
    spec.rows += source.rows->rows();
    spec.sources.push_back(std::move(source));
  }
  if (spec.rows == 0) list.fail_here("have no rows: there is nothing to ingest");
}

std::uint32_t count_partitions(const YamlNode& document, std::uint64_t rows) {
  const YamlNode* partitions = document.find("partitions");
  const YamlNode* rows_each = document.find("rows_per_partition");
  if (partitions != nullptr && rows_each != nullptr) {
    rows_each->fail_here("give `partitions` or `rows_per_partition`, not both");
  }
  const YamlNode* node = partitions != nullptr ? partitions : rows_each;
  if (node == nullptr) return 1;
  const std::uint64_t number = node->as_unsigned();
  if (number == 0) node->fail_here("must be at least 1");
  const std::uint64_t count = partitions != nullptr ? number : (rows - 1) / number + 1;
  if (count > 100'000)
    node->fail_here(fmt::format("makes {} partitions; at most 100,000 are written", human_count(count)));
  return static_cast<std::uint32_t>(count);
}

}  // namespace

IngestSpec IngestSpec::load(const std::filesystem::path& file, const std::filesystem::path& probe,
                            const LogSink& log, unsigned threads) {
  const YamlNode document = YamlNode::load(file);
  const std::filesystem::path base = file.parent_path();
  const YamlNode& version = document.require("version");
  if (version.as_integer() != 1) version.fail_here("is unknown; this program reads version 1");
  IngestSpec spec;
  read_contract(document.require("contract"), base, spec);
  spec.row_number = row_number_field(document, spec.contract);
  const YamlNode& sources = document.require("sources");
  for (const char* key : {"partitions", "rows_per_partition"}) document.find(key);
  document.refuse_unread();  // before files are opened
  IngestContext context{base, {}, probe, log, threads};
  for (std::size_t i = 0; i < spec.stored.size(); ++i) {
    if (i != spec.row_number) context.fields.push_back(spec.stored[i]);
  }
  read_sources(sources, context, spec);
  spec.partitions = count_partitions(document, spec.rows);
  const bool cut = document.find("partitions") != nullptr || document.find("rows_per_partition") != nullptr;
  if (spec.contract.has_windows() && !cut) {
    for (const IngestSpec::Source& source : spec.sources) spec.partition_rows.push_back(source.rows->rows());
    spec.partitions = static_cast<std::uint32_t>(spec.partition_rows.size());
  }
  return spec;
}

}  // namespace muster
