#include "data_loader/ingest/contract_draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

constexpr std::size_t kFewValues = 20;       // may be listed as `allowed`
constexpr std::size_t kManyValues = 10'000;  // more than a category has
constexpr double kRare = 0.05;               // a share that looks like an accident
constexpr std::uint64_t kMarker = 3;         // so often one value occurs by no accident
constexpr double kMostlyNumbers = 0.9;

std::string percent(std::uint64_t part, std::uint64_t whole) {
  const double share = whole == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(whole);
  return part > 0 && share < 0.01 ? "less than 0.01 %" : fmt::format("{:.3g} %", share);
}

std::string number_text(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15
             ? fmt::format("{}", static_cast<std::int64_t>(value))
             : fmt::format("{}", value);
}

std::string plural(std::size_t count, const char* what) {
  return fmt::format("{} {}", human_count(count), what);
}

/// "'a' 12 times, 'b' 3 times".
std::string listed(const std::vector<std::pair<std::string, std::uint64_t>>& values, std::size_t most) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < values.size() && i < most; ++i)
    parts.push_back(fmt::format("{} {}", readable_text(values[i].first), human_count(values[i].second)));
  return join(parts, ", ") + (values.size() > most ? ", …" : "");
}

std::string odd_ones(const ColumnEvidence& evidence) {
  std::vector<std::string> texts;
  for (const auto& [text, count] : evidence.odd()) texts.push_back(readable_text(text));
  return join(texts, ", ");
}

bool all(std::uint64_t count, const ColumnEvidence& evidence) {
  return evidence.present() > 0 && count == evidence.present();
}

DType number_type(const ColumnEvidence& evidence) {
  if (!all(evidence.whole(), evidence))
    return evidence.digits() > 7 ? DType::kFloat64 : DType::kFloat32;  // a float32 has 24 bits: 7 digits
  if (evidence.greatest() > 9.2e18) return DType::kUInt64;
  return evidence.least() > -2147483648.0 && evidence.greatest() <= 2147483647.0 ? DType::kInt32
                                                                                 : DType::kInt64;
}

/// A number of the type that no value of the column is and that a contract can name (at most 2^53 in size);
/// nothing if there is none.
std::optional<double> marker_of(const ColumnEvidence& evidence, DType dtype) {
  constexpr double kLeast = -9007199254740992;
  if (dtype == DType::kUInt8) return 255;
  const double below = std::min(evidence.least(), 0.0) - 1;
  const bool fits = dtype == DType::kInt32 || (dtype == DType::kInt64 && below >= kLeast);
  return fits ? std::optional(below) : std::nullopt;
}

std::uint64_t with_room(std::uint64_t length) {
  return std::max<std::uint64_t>(4, (length + length / 4 + 3) / 4 * 4);
}

/// What a text of numbers would be, were it not for a few: the clearest sign of dirt.
void note_almost_numbers(ColumnEvidence& evidence, DraftField& draft) {
  const std::uint64_t others = evidence.present() - evidence.numbers();
  if (others == 0 ||
      static_cast<double>(evidence.numbers()) < kMostlyNumbers * static_cast<double>(evidence.present()))
    return;
  draft.notes.push_back(
      fmt::format("DECIDE {} of {} values ({}) are no numbers: {}{}. Are they another kind of row, or mean "
                  "missing (`missing:` in the spec)? Taken as texts",
                  human_count(others), human_count(evidence.present()), percent(others, evidence.present()),
                  odd_ones(evidence), evidence.odd().size() == ColumnEvidence::kMostOdd ? ", …" : ""));
}

/// Units, separators of thousands, dates of other formats: what the spec must say, and what may be wrong
/// about it.
void note_style(ColumnEvidence& evidence, DraftField& draft) {
  if (all(evidence.numbers(), evidence) && evidence.styled() > 0) {
    draft.number_style = evidence.number_style().style();
    draft.field.unit = draft.number_style.unit;
    std::vector<std::string> keys;
    if (!draft.number_style.thousands.empty()) keys.emplace_back("`thousands`");
    if (!draft.number_style.unit.empty()) keys.emplace_back("`units`");
    draft.notes.push_back(
        fmt::format("DECIDE {} of {} are written like {}: taken as numbers, {} of the spec says how",
                    human_count(evidence.styled()), human_count(evidence.present()),
                    readable_text(evidence.number_style().example()), join(keys, " and ")));
  }
  const std::vector<std::string> formats = evidence.time_formats();
  if (formats.empty()) return;
  draft.time_format = formats.front();
  draft.notes.push_back(
      formats.size() == 1
          ? fmt::format("written as {}: `time_format` of the spec says so", formats.front())
          : fmt::format("DECIDE day or month first? Read as {}, {} fits too: `time_format` of the spec",
                        formats[0], formats[1]));
}

void choose_type(ColumnEvidence& evidence, DraftField& draft, std::optional<DType> stored,
                 std::uint64_t stored_length) {
  Field& field = draft.field;
  if (stored) {
    field.dtype = *stored;
    field.length = stored_length > 0 ? stored_length : with_room(evidence.longest());
    if (!is_float(field.dtype) && !field.is_text() && all(evidence.truths(), evidence))
      field.allowed = {0, 1};
    return;
  }
  note_style(evidence, draft);
  if (all(evidence.truths(), evidence)) {
    field.dtype = DType::kUInt8;
    field.allowed = {0, 1};
  } else if (all(evidence.times(), evidence)) {
    field.dtype = DType::kInt64;
    field.role = Role::kTime;
  } else if (all(evidence.numbers(), evidence) && evidence.leading_zeros() == 0) {
    field.dtype = number_type(evidence);
    if (evidence.missing() == 0 || is_float(field.dtype) || marker_of(evidence, field.dtype)) return;
    field.dtype = DType::kString;
    field.length = with_room(evidence.longest());
    draft.notes.emplace_back("whole numbers so large that none is left to mean missing: taken as texts");
  } else {
    field.dtype = DType::kString;
    field.length = with_room(evidence.longest());
    if (evidence.leading_zeros() > 0 && all(evidence.numbers(), evidence))
      draft.notes.emplace_back("numbers with leading zeros are names: taken as texts");
    note_almost_numbers(evidence, draft);
  }
}

void note_missing(ColumnEvidence& evidence, DraftField& draft) {
  if (evidence.missing() == 0) return;
  Field& field = draft.field;
  const bool feature = field.role == Role::kFeature;
  field.missing = feature ? Missing::kIndicator : Missing::kDrop;
  if (!field.is_text() && !is_float(field.dtype)) {
    field.missing_value = marker_of(evidence, field.dtype);
    if (!field.allowed.empty()) field.impute.kind = Imputation::Kind::kMode;
  }
  draft.notes.push_back(
      fmt::format("DECIDE {} of {} are missing ({}). {}", human_count(evidence.missing()),
                  human_count(evidence.cells()), percent(evidence.missing(), evidence.cells()),
                  feature ? "`indicator` keeps and marks them; `impute`, `drop`, `forbid` are the others"
                          : "`drop` leaves these rows out; `forbid` refuses them"));
}

void note_numbers(ColumnEvidence& evidence, DraftField& draft) {
  Field& field = draft.field;
  if (field.role == Role::kTime && evidence.times() > 0)
    draft.notes.push_back(fmt::format("{} to {}", iso_time(evidence.least()).substr(0, 19),
                                      iso_time(evidence.greatest()).substr(0, 19)));
  if (field.is_text() || evidence.numbers() == 0) return;
  if (!field.allowed.empty()) return;
  draft.notes.push_back(
      fmt::format("{} to {}", number_text(evidence.least()), number_text(evidence.greatest())));
  if (evidence.negative() == 0) {
    if (evidence.greatest() > evidence.least()) field.minimum = 0;
    if (field.missing_value) field.minimum.reset();  // the marker lies below
    return;
  }
  const bool rare =
      static_cast<double>(evidence.negative()) <= kRare * static_cast<double>(evidence.present());
  const std::string share = percent(evidence.negative(), evidence.present());
  if (evidence.times_least() == evidence.negative() && evidence.negative() >= kMarker) {
    draft.notes.push_back(
        fmt::format("DECIDE {0} is the only value below 0, {1} times ({2}). Does it mean missing? Then "
                    "`missing: indicator, missing_value: {0}`{3}",
                    number_text(evidence.least()), human_count(evidence.negative()), share,
                    rare ? "; till then `range` refuses it" : ""));
  } else if (rare) {
    draft.notes.push_back(
        fmt::format("DECIDE {} of {} are below 0 ({}). Mistakes, or another kind of row? `range` refuses "
                    "them; without it they pass, and `outside: bad, bad_rows: skip` in a CSV's spec leaves "
                    "their rows out",
                    human_count(evidence.negative()), human_count(evidence.present()), share));
  }
  if (rare) field.minimum = 0;
}

/// Identifiers, constants, categories: by how many values differ.
void note_distinct(ColumnEvidence& evidence, DraftField& draft) {
  Field& field = draft.field;
  const std::size_t distinct = evidence.distinct().count();
  const std::uint64_t present = evidence.present();
  if (present == 0) {
    draft.notes.emplace_back("DECIDE there is no value at all: leave it out");
    return;
  }
  if (distinct == 1) {
    draft.notes.push_back(fmt::format("DECIDE always {}: a model can learn nothing from it; leave it out",
                                      listed(evidence.values(), 1)));
    return;
  }
  if (field.role != Role::kFeature) return;
  const bool names = field.is_text() || all(evidence.whole(), evidence);
  if (names && distinct == present && present > kFewValues) {
    field.role = Role::kKey;
    field.unique = evidence.missing() == 0;
    draft.notes.emplace_back("every value is another one: an identifier");
    return;
  }
  if (field.is_text() && 2 * distinct > present && present > kFewValues) {
    field.role = Role::kKey;
    draft.notes.push_back(
        fmt::format("{} different values of {}: an identifier", human_count(distinct), human_count(present)));
    return;
  }
  if (names && distinct > kManyValues) {
    if (field.is_text()) field.role = Role::kKey;
    draft.notes.push_back(
        fmt::format("{}{} different values, each about {} times: {}", field.is_text() ? "" : "DECIDE ",
                    evidence.distinct().too_many() ? "more than " + human_count(evidence.distinct().most())
                                                   : human_count(distinct),
                    human_count(present / std::max<std::size_t>(1, distinct)),
                    field.is_text() ? "an identifier? a text of so many is taken as a key"
                                    : "an amount, or an identifier (`role: key`)?"));
    return;
  }
  if (!evidence.values().empty() && distinct <= kFewValues) {
    draft.notes.push_back(fmt::format("{}: {}", plural(distinct, "values"), listed(evidence.values(), 6)));
    if (field.is_text() && distinct == 2)
      draft.notes.push_back(
          fmt::format("DECIDE yes or no? Then `values: {{{}: {{ONE: 1, OTHER: 0}}}}` in the ingest spec "
                      "makes numbers of it, "
                      "and here `dtype: bool`",
                      field.name));
    return;
  }
  if (field.is_text()) {
    draft.notes.push_back(fmt::format("{}{}", plural(distinct, "different values"),
                                      evidence.values().empty() ? "" : ": " + listed(evidence.values(), 4)));
  } else if (names && distinct > kFewValues &&
             static_cast<double>(distinct) < 0.05 * static_cast<double>(present) && evidence.least() > 999) {
    draft.notes.push_back(
        fmt::format("DECIDE {} different values, each about {} times, none below 1,000: an amount, a code "
                    "(`transform: category`), or an identifier (`role: key`)?",
                    human_count(distinct), human_count(present / distinct)));
  }
}

bool usable_label(const DraftField& draft) {
  return draft.field.role == Role::kFeature && draft.field.shape.empty() && !draft.field.is_text();
}

std::string range_text(const Field& field) {
  const auto end = [](const std::optional<double>& value) {
    return value ? number_text(*value) : std::string("null");
  };
  return fmt::format("range: [{}, {}]", end(field.minimum), end(field.maximum));
}

std::string field_line(const DraftField& draft) {
  const Field& field = draft.field;
  std::vector<std::string> parts;
  if (field.path != field.name) parts.push_back("path: " + Json(field.path).dump());
  if (!field.member.empty()) parts.push_back("member: " + Json(field.member).dump());
  parts.push_back(fmt::format("dtype: {}", to_string(field.dtype)));
  if (field.is_text()) parts.push_back(fmt::format("length: {}", field.length));
  if (!field.shape.empty()) parts.push_back(fmt::format("shape: [{}]", fmt::join(field.shape, ", ")));
  if (!field.unit.empty()) parts.push_back("unit: " + Json(field.unit).dump());
  if (field.minimum || field.maximum) parts.push_back(range_text(field));
  if (!field.allowed.empty()) {
    std::vector<std::string> allowed;
    for (const double value : field.allowed) allowed.push_back(number_text(value));
    parts.push_back("allowed: [" + join(allowed, ", ") + "]");
  }
  if (field.can_be_missing()) {
    parts.push_back(fmt::format("missing: {}", to_string(field.missing)));
    if (field.missing_value) parts.push_back("missing_value: " + number_text(*field.missing_value));
    if (field.impute.kind == Imputation::Kind::kMode && !field.is_text()) parts.emplace_back("impute: mode");
  }
  if (field.unique) parts.emplace_back("unique: true");
  if (field.role == Role::kTime) parts.emplace_back("role: time");
  if (field.role == Role::kKey) parts.emplace_back("role: key");
  return fmt::format("  {}: {{{}}}\n", field.name, join(parts, ", "));
}

std::string label_note(const ContractDraft& draft) {
  std::vector<std::string> names;
  for (const DraftField& field : draft.fields) {
    if (usable_label(field) && field.field.allowed.size() == 2) names.push_back(field.field.name);
  }
  std::string text =
      "# DECIDE the label: `role: label` on the field to predict, or on several. Yes or no: `allowed: [0, "
      "1]`; classes: "
      "whole numbers from 0;\n"
      "# an amount: a float.";
  if (!names.empty()) text += " Of two values here: " + join(names, ", ") + ".";
  return text + "\n";
}

std::string splits_text(const ContractDraft& draft) {
  if (draft.time && draft.in_time_order) {
    return fmt::format(
        "# The rows lie in the order of {}: later rows test what was learnt from earlier ones.\n"
        "# `by: time` cuts at dates, with a gap (docs/contract.md).\n"
        "splits: {{by: order, train: 0.7, validation: 0.15, test: 0.15}}\n",
        draft.fields[*draft.time].field.name);
  }
  std::string text = draft.time ? fmt::format(
                                      "# DECIDE there is a time, {}: will the model score later rows than it "
                                      "learnt from? Then `by: time`.\n",
                                      draft.fields[*draft.time].field.name)
                                : "";
  for (const DraftField& field : draft.fields) {
    if (field.field.role == Role::kKey && !field.field.unique)
      text += fmt::format("# Rows of one {0} on one side only: {{by: key, field: {0}, train: 0.7, …}}.\n",
                          field.field.name);
  }
  return text + "splits: {by: fraction, seed: 1, train: 0.7, validation: 0.15, test: 0.15}\n";
}

}  // namespace

std::string field_name(const std::string& column, const std::vector<DraftField>& taken) {
  std::string name;
  for (const char c : column) {
    const bool fine =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (fine) {
      name += c;
    } else if (!name.empty() && name.back() != '_') {
      name += '_';
    }
  }
  while (!name.empty() && name.back() == '_') name.pop_back();
  name = name.substr(0, 100);
  if (name.empty()) name = "column";
  const auto is_taken = [&](const std::string& tried) {
    return std::ranges::any_of(taken, [&](const DraftField& other) { return other.field.name == tried; });
  };
  std::string tried = name;
  for (int number = 2; is_taken(tried); ++number) tried = fmt::format("{}_{}", name, number);
  return tried;
}

DraftField draft_field(ColumnEvidence& evidence, std::string name, std::optional<DType> stored,
                       std::uint64_t stored_length) {
  DraftField draft;
  draft.column = evidence.name();
  draft.field.name = draft.field.path = std::move(name);
  choose_type(evidence, draft, stored, stored_length);
  note_distinct(evidence, draft);
  note_missing(evidence, draft);
  note_numbers(evidence, draft);
  if (!evidence.valid_utf8())
    draft.notes.emplace_back("DECIDE some texts are no UTF-8: `encoding:` in the spec says what they are");
  return draft;
}

std::string draft_text(const ContractDraft& draft) {
  std::string text = fmt::format(
      "# Drafted by `muster contract init` from {} rows of {}.\n"
      "# It says what was seen, not what is right: decide where a line says DECIDE, then `muster validate`\n"
      "# holds every value to it. What each key means: docs/contract.md.\n",
      human_count(draft.rows), join(draft.sources, ", "));
  for (const std::string& note : draft.notes) text += "# " + note + "\n";
  text += "version: 1\n";
  if (!draft.partitions.empty())
    text += "# Read where they lie. Patterns do as well: * and ? match names.\npartitions:\n";
  for (const std::string& file : draft.partitions) text += "  - " + Json(file).dump() + "\n";
  text += "fields:\n";
  for (const DraftField& field : draft.fields) {
    for (const std::string& note : field.notes) text += "  # " + note + "\n";
    text += field_line(field);
  }
  text += label_note(draft) + splits_text(draft);
  static_cast<void>(
      Contract::parse(YamlNode::parse(text, "the drafted contract")));  // never hand on a broken one
  return text;
}

}  // namespace muster
