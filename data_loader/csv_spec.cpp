#include "data_loader/csv_spec.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"
#include "data_loader/text_encoding.h"

namespace muster {
namespace {

char one_character(const YamlNode& node) {
  const std::string text = node.as_string();
  if (text == "tab" || text == "\\t") return '\t';
  if (text.size() != 1 || text[0] == '\n' || text[0] == '\r')
    node.fail_here("one character was expected (or `tab`)");
  return text[0];
}

void refuse_unknown_field(const YamlNode& at, const std::string& name, const std::vector<Field>& fields) {
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.name);
  if (std::ranges::find(names, name) != names.end()) return;
  at.fail_here(fmt::format("the contract has no field '{}'{}", name, did_you_mean(name, names)));
}

}  // namespace

CsvSpec CsvSpec::parse(const YamlNode& node, const IngestContext& context) {
  CsvSpec spec;
  spec.file = context.file;
  if (const YamlNode* delimiter = node.find("delimiter")) spec.dialect.delimiter = one_character(*delimiter);
  if (const YamlNode* quote = node.find("quote")) spec.dialect.quote = one_character(*quote);
  if (const YamlNode* decimal = node.find("decimal")) spec.rules.decimal = one_character(*decimal);
  if (spec.dialect.quote == spec.dialect.delimiter) node.fail_here("delimiter and quote are the same");
  if (const YamlNode* encoding = node.find("encoding")) {
    try {
      spec.encoding = encoding->as_string();
      TextEncoding{*spec.encoding};
    } catch (const Error& error) {
      encoding->fail_here(error.message());
    }
  }
  if (const YamlNode* header = node.find("header")) spec.header = header->as_boolean();
  if (const YamlNode* missing = node.find("missing")) {
    spec.rules.missing.clear();
    for (const YamlNode& marker : missing->items()) spec.rules.missing.push_back(marker.as_string());
  }
  if (const YamlNode* bad_rows = node.find("bad_rows")) {
    const std::string rule = bad_rows->as_string();
    if (rule != "refuse" && rule != "skip") bad_rows->fail_here("`refuse` or `skip` was expected");
    spec.skip_bad_rows = rule == "skip";
  }
  if (const YamlNode* columns = node.find("columns")) {
    for (const auto& [field, column] : columns->entries()) {
      refuse_unknown_field(column, field, context.fields);
      spec.columns[field] = column.as_string();
    }
  }
  if (const YamlNode* values = node.find("values")) {
    for (const auto& [field, map] : values->entries()) {
      refuse_unknown_field(map, field, context.fields);
      for (const auto& [text, number] : map.entries()) spec.values[field][text] = number.as_number();
    }
  }
  if (const YamlNode* above = node.find("above")) {
    for (const auto& [field, number] : above->entries()) {
      refuse_unknown_field(number, field, context.fields);
      spec.above[field] = number.as_number();
    }
  }
  node.refuse_unread();  // before a long file is read
  return spec;
}

CellRules CsvSpec::rules_of(const Field& field) const {
  CellRules result = rules;
  if (const auto found = values.find(field.name); found != values.end()) result.values = found->second;
  if (const auto found = above.find(field.name); found != above.end()) result.above = found->second;
  return result;
}

}  // namespace muster
