#include "data_loader/ingest/csv_spec.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.h"
#include "data_loader/contract/text_encoding.h"
#include "data_loader/contract/time_format.h"

namespace muster {
namespace {

char one_character(const YamlNode& node) {
  const std::string text = node.as_string();
  if (text == "tab" || text == "\\t") return '\t';
  if (text.size() != 1 || text[0] == '\n' || text[0] == '\r')
    node.fail_here("one character was expected (or `tab`)");
  return text[0];
}

std::string one_utf8_character(const YamlNode& node) {
  std::string text = node.as_string();
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; };
  const bool digit = !text.empty() && text[0] >= '0' && text[0] <= '9';
  if (text.empty() || digit || utf8_prefix(text) != text.size() ||
      static_cast<std::size_t>(std::ranges::count_if(text, continues)) != text.size() - 1)
    node.fail_here("one character that is no digit was expected");
  return text;
}

void refuse_unknown_field(const YamlNode& at, const std::string& name, const IngestContext& context) {
  std::vector<std::string> names = context.left_out;
  for (const Field& field : context.fields) names.push_back(field.name);
  if (std::ranges::find(names, name) != names.end()) return;
  at.fail_here(fmt::format("the contract has no field '{}'{}", name, did_you_mean(name, names)));
}

bool keep_or_bad(const YamlNode& node, const char* key) {
  const YamlNode* const given = node.find(key);
  if (given == nullptr) return false;
  const std::string rule = given->as_string();
  if (rule != "keep" && rule != "bad") given->fail_here("`keep` or `bad` was expected");
  return rule == "bad";
}

/// What is for numbers would be ignored there.
void refuse_text(const YamlNode& at, const std::string& name, const IngestContext& context) {
  const auto text = [&](const Field& field) { return field.name == name && field.is_text(); };
  if (std::ranges::any_of(context.fields, text))
    at.fail_here(fmt::format("'{}' is a text: it is kept as it is", name));
}

}  // namespace

CsvSpec CsvSpec::parse(const YamlNode& node, const IngestContext& context) {
  CsvSpec spec;
  spec.file = context.file;
  if (const YamlNode* delimiter = node.find("delimiter")) spec.dialect.delimiter = one_character(*delimiter);
  if (const YamlNode* quote = node.find("quote")) spec.dialect.quote = one_character(*quote);
  if (const YamlNode* decimal = node.find("decimal")) spec.rules.number.decimal = one_character(*decimal);
  if (const YamlNode* thousands = node.find("thousands")) {
    spec.rules.number.thousands = one_utf8_character(*thousands);
    if (spec.rules.number.thousands == std::string(1, spec.rules.number.decimal))
      thousands->fail_here(fmt::format("is the decimal sign too: {}", spec.rules.number.thousands));
  }
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
  spec.outside_is_bad = keep_or_bad(node, "outside");
  spec.repeated_is_bad = keep_or_bad(node, "repeated");
  if (const YamlNode* columns = node.find("columns")) {
    for (const auto& [field, column] : columns->entries()) {
      refuse_unknown_field(column, field, context);
      spec.columns[field] = column.as_string();
    }
  }
  if (const YamlNode* values = node.find("values")) {
    for (const auto& [field, map] : values->entries()) {
      refuse_unknown_field(map, field, context);
      for (const auto& [text, number] : map.entries()) spec.values[field][text] = number.as_number();
    }
  }
  if (const YamlNode* above = node.find("above")) {
    for (const auto& [field, number] : above->entries()) {
      refuse_unknown_field(number, field, context);
      spec.above[field] = number.as_number();
    }
  }
  if (const YamlNode* units = node.find("units")) {
    for (const auto& [field, unit] : units->entries()) {
      refuse_unknown_field(unit, field, context);
      refuse_text(unit, field, context);
      spec.units[field] = unit.as_string();
    }
  }
  if (const YamlNode* formats = node.find("time_format")) {
    for (const auto& [field, format] : formats->entries()) {
      refuse_unknown_field(format, field, context);
      refuse_text(format, field, context);
      spec.time_formats[field] = format.as_string();
      if (const std::string fault = time_format_fault(format.as_string()); !fault.empty())
        format.fail_here(fault);
    }
  }
  node.refuse_unread();  // before a long file is read
  return spec;
}

CsvSpec CsvSpec::of_ingest_spec(const std::filesystem::path& file, const Contract& contract) {
  const YamlNode document = YamlNode::load(file);
  for (const char* key : {"version", "contract", "row_number", "partitions", "rows_per_partition"})
    document.find(key);
  const YamlNode& sources = document.require("sources");
  document.refuse_unread();
  if (sources.items().size() != 1 || sources.items().front().require("format").as_string() != "csv")
    sources.fail_here("must be one source of format csv, to say how lines are read");
  const YamlNode& source = sources.items().front();
  for (const char* key : {"file", "files"}) source.find(key);
  IngestContext context;
  context.fields = contract.fields();
  context.file = "stdin";
  return parse(source, context);
}

CellRules CsvSpec::rules_of(const Field& field) const {
  CellRules result = rules;
  if (const auto found = values.find(field.name); found != values.end()) result.values = found->second;
  if (const auto found = above.find(field.name); found != above.end()) result.above = found->second;
  if (const auto found = units.find(field.name); found != units.end()) result.number.unit = found->second;
  if (const auto found = time_formats.find(field.name); found != time_formats.end())
    result.time_format = found->second;
  return result;
}

}  // namespace muster
