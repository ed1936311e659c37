#include "data_loader/ingest/ingest_spec.h"

#include <algorithm>
#include <limits>

#include "core/file_system.h"
#include "core/text.h"
#include "data_loader/reading/partition_list.h"

namespace muster {
namespace {

std::string describe(const Field& field) {
  std::vector<std::string> extents;
  for (const std::uint64_t extent : field.shape) extents.push_back(std::to_string(extent));
  return fmt::format("{} [{}]", to_string(field.dtype), join(extents, ", "));
}

struct ReadContract {
  Contract contract;
  std::string yaml;
};

ReadContract read_contract(const YamlNode& node, const std::filesystem::path& base) {
  ReadContract read;
  if (node.is_map()) {
    read.contract = Contract::parse(node);
    read.yaml = read.contract.to_yaml();
  } else {
    const std::filesystem::path file = base / node.as_string();
    read.yaml = make_posix_file_system()->read_text(file);
    read.contract = Contract::parse(YamlNode::parse(read.yaml, file.string()));
  }
  if (!read.contract.partitions().empty())
    node.fail_here("names partitions that lie elsewhere (`partitions:`): `ingest` makes its own");
  for (const Field& field : read.contract.fields()) {
    if (!field.member.empty())
      node.fail_here(fmt::format(
          "'{}' is a member of compound rows, which `ingest` does not write: leave `member` out, and let "
          "`datasets` of the source say it",
          field.name));
  }
  return read;
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

IngestFormat format_of(const YamlNode& entry) {
  const YamlNode& name = entry.require("format");
  const Result<IngestFormat> format = attempt([&] { return ingest_formats().get(name.as_string()); });
  if (!format) name.fail_here(format.error().message());
  return format.value();
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

/// The fields that the files shall not have go out of the contract.
void IngestSpec::leave_out(const IngestOptions& options) {
  for (const std::string& name : options.without) static_cast<void>(contract_.field(name));
  std::vector<std::string> names = options.without;
  for (const Field& field : contract_.fields()) {
    if (options.unlabelled && (field.role == Role::kLabel || field.role == Role::kWeight))
      names.push_back(field.name);
  }
  if (names.empty()) return;
  contract_ = contract_.without(names);
  contract_yaml_ = contract_.to_yaml();
  context_.left_out = std::move(names);
}

/// Of an entry whose format reads one file: `file`, or what the patterns of `files` match.
std::vector<std::filesystem::path> IngestSpec::files_of(const YamlNode& entry,
                                                        const IngestOptions& options) const {
  const YamlNode* several = entry.find("files");
  const YamlNode* one = several == nullptr ? &entry.require("file") : entry.find("file");
  if (several != nullptr && one != nullptr) one->fail_here("give `file` or `files`, not both");
  if (!options.files.empty()) return options.files;
  if (several == nullptr) return {context_.base / one->as_string()};
  std::vector<std::string> patterns;
  if (several->is_list()) {
    for (const YamlNode& item : several->items()) patterns.push_back(item.as_string());
  } else {
    patterns.push_back(several->as_string());
  }
  if (patterns.empty()) several->fail_here("names no file");
  return matching_files(patterns, context_.base);
}

IngestSpec::IngestSpec(const IngestOptions& options)
    : document_(YamlNode::load(options.spec)),
      context_{options.spec.parent_path(), {}, {}, {}, options.probe, options.log, options.threads, {}} {
  const YamlNode& version = document_.require("version");
  if (version.as_integer() != 1) version.fail_here("is unknown; this program reads version 1");
  const YamlNode& contract = document_.require("contract");
  auto [parsed, yaml] = read_contract(contract, context_.base);
  contract_ = std::move(parsed);
  contract_yaml_ = std::move(yaml);
  leave_out(options);
  const auto stored = attempt([&] { return contract_.stored_fields(); });
  if (!stored) contract.fail_here(stored.error().message());
  stored_ = stored.value();
  row_number_ = row_number_field(document_, contract_);
  const YamlNode& sources = document_.require("sources");
  for (const char* key : {"partitions", "rows_per_partition"}) document_.find(key);
  document_.refuse_unread();  // before files are opened
  for (std::size_t i = 0; i < stored_.size(); ++i) {
    if (i != row_number_) context_.fields.push_back(stored_[i]);
  }
  if (!options.files.empty() && (sources.items().size() != 1 || !format_of(entry(0)).by_file))
    throw Error(ErrorCode::kUsage, "--files needs a spec of one source whose format reads one file",
                options.spec.string());
  for (std::size_t i = 0; i < sources.items().size(); ++i) {
    if (!format_of(entry(i)).by_file) {
      sources_.emplace_back().entry = i;
      continue;
    }
    for (std::filesystem::path& one : files_of(entry(i), options)) {
      sources_.emplace_back();
      sources_.back().entry = i;
      sources_.back().file = std::move(one);
    }
  }
}

void IngestSpec::open(std::size_t i, std::optional<std::uint64_t> known_rows) {
  Source& source = sources_.at(i);
  if (source.rows) return;
  const YamlNode& node = entry(source.entry);
  IngestContext context = context_;
  context.file = source.file;
  context.known_rows = known_rows;
  source.rows = format_of(node).open(node, context);
  node.refuse_unread();
  source.column_of_field = match(node, *source.rows, stored_, row_number_);
}

std::vector<std::uint64_t> IngestSpec::partition_rows(std::span<const std::uint64_t> rows_of_source) const {
  std::uint64_t rows = 0;
  for (const std::uint64_t count : rows_of_source) rows += count;
  if (rows == 0) document_.require("sources").fail_here("have no rows: there is nothing to ingest");
  const std::uint32_t partitions = count_partitions(document_, rows);
  const bool cut = document_.find("partitions") != nullptr || document_.find("rows_per_partition") != nullptr;
  // No window crosses from one text to the next.
  if (contract_.has_windows() && !cut) return {rows_of_source.begin(), rows_of_source.end()};
  std::vector<std::uint64_t> dealt;
  for (std::uint32_t i = 0; i < partitions; ++i)
    dealt.push_back(rows / partitions + (i < rows % partitions ? 1 : 0));
  return dealt;
}

}  // namespace muster
