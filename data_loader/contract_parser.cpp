// Contract::parse: contract.yaml's rules, each fault with its place in the file.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

#include "core/text.h"
#include "data_loader/contract.h"
#include "data_loader/transform.h"

namespace muster {

namespace {

constexpr std::array<const char*, 3> kSplits = {"train", "validation", "test"};
constexpr std::uint64_t kMaxRowBytes = std::uint64_t{1} << 30;
/// Integers of at least this size are not told apart by the double that ranges are kept in.
constexpr double kExact = 0x1p53;

/// Index of the text among the known words.
std::size_t choose(const YamlNode& node, const char* what, std::initializer_list<const char*> words) {
  const std::string found = node.as_string();
  const std::vector<std::string> known(words.begin(), words.end());
  const auto place = std::find(known.begin(), known.end(), found);
  if (place == known.end()) {
    node.fail_here(fmt::format("there is no {} '{}'{}; known: {}", what, found, did_you_mean(found, known),
                               join(known, ", ")));
  }
  return static_cast<std::size_t>(place - known.begin());
}

/// Runs what throws an Error without a place, and gives it this node's.
template <typename Body>
decltype(auto) placed(const YamlNode& node, Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    node.fail_here(error.message());
  }
}

void check_name(const YamlNode& node, const std::string& name) {
  const auto fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (name.empty() || name.size() > 128 || !std::all_of(name.begin(), name.end(), fine)) {
    node.fail_here(fmt::format(
        "'{}' cannot name a field: use letters, digits, '_' and '-' (`path` can say anything)", name));
  }
}

std::string parse_path(const YamlNode& node) {
  const std::string path = node.as_string();
  const std::size_t start = path.find_first_not_of('/');
  if (start == std::string::npos || path.back() == '/')
    node.fail_here(fmt::format("'{}' is no path of a dataset in the file", path));
  return path.substr(start);
}

std::vector<std::uint64_t> parse_shape(const YamlNode& node, DType dtype) {
  std::vector<std::uint64_t> shape;
  std::uint64_t bytes = size_of(dtype);
  for (const YamlNode& item : node.items()) {
    const std::uint64_t extent = item.as_unsigned();
    if (extent == 0) item.fail_here("an extent must be at least 1");
    if (extent > kMaxRowBytes / bytes)
      item.fail_here(fmt::format("a row may have at most {}", human_bytes(kMaxRowBytes)));
    bytes *= extent;
    shape.push_back(extent);
  }
  if (shape.size() > 31) node.fail_here("HDF5 has at most 31 dimensions beyond the row");
  return shape;
}

void check_fits(const YamlNode& node, const Field& field, double value) {
  const bool fits = visit(field.dtype, [&]<typename T>(T*) {
    return value >= static_cast<double>(std::numeric_limits<T>::lowest()) &&
           value <= static_cast<double>(std::numeric_limits<T>::max());
  });
  if (!fits) node.fail_here(fmt::format("{} does not fit in {}", value, to_string(field.dtype)));
}

/// A bound or an allowed value: exact in the field's dtype.
double parse_value(const YamlNode& node, const Field& field) {
  const double value = node.as_number();
  if (!std::isfinite(value)) node.fail_here("must be finite; leave a bound open with null");
  check_fits(node, field, value);
  if (is_float(field.dtype)) return value;
  if (std::trunc(value) != value) node.fail_here(fmt::format("{} is no {}", value, to_string(field.dtype)));
  if (std::abs(value) > kExact)
    node.fail_here("integers beyond 2^53 cannot be told apart here; leave the bound open with null");
  return value;
}

void parse_values(const YamlNode& node, Field& field) {
  if (field.role == Role::kWeight) field.minimum = 0;
  if (const YamlNode* range = node.find("range")) {
    if (range->items().size() != 2) range->fail_here("a range is [least, greatest]; null leaves one open");
    const YamlNode& low = range->items()[0];
    const YamlNode& high = range->items()[1];
    if (!low.is_null()) field.minimum = parse_value(low, field);
    if (!high.is_null()) field.maximum = parse_value(high, field);
    if (field.minimum && field.maximum && *field.minimum > *field.maximum) {
      range->fail_here(fmt::format("nothing lies in the range [{}, {}]", *field.minimum, *field.maximum));
    }
    if (field.role == Role::kWeight && *field.minimum < 0) low.fail_here("a weight cannot be negative");
  }
  if (const YamlNode* allowed = node.find("allowed")) {
    if (allowed->items().empty()) allowed->fail_here("names no value; leave it out to allow all");
    for (const YamlNode& item : allowed->items()) {
      field.allowed.push_back(parse_value(item, field));
      const double value = field.allowed.back();
      if ((field.minimum && value < *field.minimum) || (field.maximum && value > *field.maximum)) {
        item.fail_here(fmt::format("{} is allowed here but outside the field's range", value));
      }
    }
    std::sort(field.allowed.begin(), field.allowed.end());
    const auto twice = std::adjacent_find(field.allowed.begin(), field.allowed.end());
    if (twice != field.allowed.end()) allowed->fail_here(fmt::format("{} is given twice", *twice));
  }
}

void parse_missing(const YamlNode& node, Field& field) {
  const YamlNode* missing = node.find("missing");
  if (missing == nullptr) return;
  field.missing = static_cast<Missing>(choose(*missing, "rule for missing values", {"forbid", "indicator"}));
  if (field.missing == Missing::kForbid) return;
  if (field.role != Role::kFeature) missing->fail_here("only features can have missing values");
  if (!is_float(field.dtype) || !field.shape.empty()) {
    missing->fail_here(
        fmt::format("a missing value is a NaN in a float field with one number per row; this is {}{}",
                    to_string(field.dtype), field.shape.empty() ? "" : " with a shape"));
  }
}

void parse_transform(const YamlNode& node, Field& field) {
  const YamlNode* transform = node.find("transform");
  if (field.role != Role::kFeature) {
    if (transform != nullptr) transform->fail_here("only features are transformed");
    return;
  }
  if (transform == nullptr) {
    field.transform = field.shape.empty() ? "standardize" : (field.dtype == DType::kUInt8 ? "scale" : "none");
    return;
  }
  field.transform = transform->as_string();
  placed(*transform, [&] { transforms().get(field.transform); });
}

void check_role(const YamlNode& node, const Field& field) {
  const bool one_number = field.shape.empty();
  if (!one_number &&
      (field.role == Role::kLabel || field.role == Role::kTime || field.role == Role::kWeight)) {
    node.fail_here(fmt::format(
        "'{}' must be one number per row, without a shape, to be the label, time or weight", field.name));
  }
  if (field.role == Role::kTime && field.dtype == DType::kFloat32) {
    node.fail_here(fmt::format(
        "'{}' cannot be the time: float32 counts seconds only up to 2^24; use an integer or float64",
        field.name));
  }
  if (!one_number && field.role == Role::kFeature && (field.name == "features" || field.name == "label")) {
    node.fail_here(fmt::format(
        "'{}' is the name of a tensor that Muster makes itself: rename the field (`path` can stay)",
        field.name));
  }
}

Field parse_field(const std::string& name, const YamlNode& node) {
  check_name(node, name);
  if (!node.is_map())
    node.fail_here(fmt::format("'{}' needs at least a dtype: `{}: {{dtype: float32}}`", name, name));
  Field field;
  field.name = name;
  const YamlNode* path = node.find("path");
  field.path = path != nullptr ? parse_path(*path) : name;
  const YamlNode& dtype = node.require("dtype");
  field.dtype = placed(dtype, [&] { return parse_dtype(dtype.as_string()); });
  if (const YamlNode* shape = node.find("shape")) field.shape = parse_shape(*shape, field.dtype);
  if (const YamlNode* unit = node.find("unit")) field.unit = unit->as_string();
  if (const YamlNode* role = node.find("role")) {
    field.role = static_cast<Role>(choose(*role, "role", {"feature", "label", "time", "key", "weight"}));
  }
  check_role(node, field);
  parse_values(node, field);
  parse_missing(node, field);
  parse_transform(node, field);
  node.refuse_unread();
  return field;
}

FractionSplit parse_fractions(const YamlNode& node) {
  FractionSplit rule;
  if (const YamlNode* seed = node.find("seed")) rule.seed = seed->as_unsigned();
  double sum = 0;
  for (const char* name : kSplits) {
    const YamlNode* share = node.find(name);
    if (share == nullptr) continue;
    const double fraction = share->as_number();
    if (!(fraction > 0 && fraction <= 1))
      share->fail_here(fmt::format("a share must lie in (0, 1], not be {}", fraction));
    sum += fraction;
    if (sum > 1 + 1e-9) share->fail_here(fmt::format("the shares add up to {}, more than 1", sum));
    rule.shares.push_back({name, fraction});
  }
  return rule;
}

std::optional<std::int64_t> parse_bound(const YamlNode& node, const char* key) {
  const YamlNode* bound = node.find(key);
  if (bound == nullptr || bound->is_null()) return std::nullopt;
  return bound->as_time();
}

/// `earlier` must end at least `gap` before `later` starts.
void check_apart(const TimeSplit::Interval& earlier, const TimeSplit::Interval& later, std::int64_t gap,
                 const YamlNode& splits) {
  const YamlNode& node = splits.require(later.name);
  if (!earlier.until || !later.from || *later.from < *earlier.until) {
    node.fail_here(fmt::format("'{}' and '{}' overlap: '{}' must start at or after the end ('until') of '{}'",
                               earlier.name, later.name, later.name, earlier.name));
  }
  std::int64_t distance = 0;
  const bool far = __builtin_sub_overflow(*later.from, *earlier.until, &distance);
  if (!far && distance < gap) {
    node.fail_here(fmt::format("'{}' starts {} after '{}' ends; gap_seconds asks for at least {}", later.name,
                               distance, earlier.name, gap));
  }
}

TimeSplit parse_times(const YamlNode& node, const Contract& contract) {
  TimeSplit rule;
  const YamlNode& field = node.require("field");
  rule.field = field.as_string();
  const Field& time = placed(field, [&]() -> const Field& { return contract.field(rule.field); });
  if (time.role != Role::kTime) field.fail_here(fmt::format("'{}' must have `role: time`", rule.field));
  if (const YamlNode* gap = node.find("gap_seconds")) {
    rule.gap = gap->as_integer();
    if (rule.gap < 0) gap->fail_here("a gap cannot be negative");
  }
  for (const char* name : kSplits) {
    const YamlNode* interval = node.find(name);
    if (interval == nullptr) continue;
    rule.intervals.push_back({name, parse_bound(*interval, "from"), parse_bound(*interval, "until")});
    const auto& [_, from, until] = rule.intervals.back();
    if (from && until && *from >= *until)
      interval->fail_here(fmt::format("'{}' ends before it starts", name));
    interval->refuse_unread();
  }
  std::vector<TimeSplit::Interval> sorted = rule.intervals;
  // Without a start is first: an absent optional is less than any value.
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.from < b.from; });
  for (std::size_t i = 1; i < sorted.size(); ++i) check_apart(sorted[i - 1], sorted[i], rule.gap, node);
  return rule;
}

/// Fractions of a key's values.
FractionSplit parse_keys(const YamlNode& node, const Contract& contract) {
  const YamlNode& field = node.require("field");
  const Field& key = placed(field, [&]() -> const Field& { return contract.field(field.as_string()); });
  if (key.role != Role::kKey) field.fail_here(fmt::format("'{}' must have `role: key`", key.name));
  if (is_float(key.dtype) || !key.shape.empty())
    field.fail_here(
        fmt::format("'{}' must be an integer without a shape, so that equal keys are equal", key.name));
  FractionSplit rule = parse_fractions(node);
  rule.key = key.name;
  return rule;
}

SplitRule parse_splits(const YamlNode& node, const Contract& contract) {
  const auto parse_rule = [&]() -> SplitRule {
    switch (choose(node.require("by"), "way to split", {"time", "fraction", "key"})) {
      case 0:
        return parse_times(node, contract);
      case 1:
        return parse_fractions(node);
      default:
        return parse_keys(node, contract);
    }
  };
  const SplitRule rule = parse_rule();
  node.refuse_unread();
  const bool none = std::visit(
      [](const auto& r) {
        if constexpr (requires { r.shares; })
          return r.shares.empty();
        else
          return r.intervals.empty();
      },
      rule);
  if (none) node.fail_here("names no split; known: train, validation, test");
  return rule;
}

void check_fields(const YamlNode& node, const std::vector<Field>& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const YamlNode& place = node.entries()[i].second;
    for (std::size_t j = 0; j < i; ++j) {
      if (fields[i].path == fields[j].path) {
        place.fail_here(fmt::format("'{}' and '{}' both read the dataset '{}'", fields[j].name,
                                    fields[i].name, fields[i].path));
      }
      if (fields[i].role == fields[j].role && fields[i].role != Role::kFeature &&
          fields[i].role != Role::kKey) {
        place.fail_here(
            fmt::format("'{}' and '{}' have the same role; there can be one label, one time and one weight",
                        fields[j].name, fields[i].name));
      }
    }
  }
}

}  // namespace

Contract Contract::parse(const YamlNode& document) {
  if (document.is_null())
    document.fail_here("is empty; a contract needs `version: 1`, `fields:` and `splits:`");
  const YamlNode& version = document.require("version");
  if (version.as_integer() != 1)
    version.fail_here(
        fmt::format("contract version {} is unknown; this program reads 1", version.as_integer()));
  Contract contract;
  const YamlNode& fields = document.require("fields");
  if (fields.is_null() || fields.entries().empty()) fields.fail_here("a contract needs at least one field");
  for (const auto& [name, node] : fields.entries()) contract.fields_.push_back(parse_field(name, node));
  check_fields(fields, contract.fields_);
  if (const YamlNode* never = document.find("never_features")) {
    for (const YamlNode& item : never->items()) {
      const std::string name = item.as_string();
      placed(item, [&] { contract.field(name); });
      auto& names = contract.never_features_;
      if (std::find(names.begin(), names.end(), name) != names.end())
        item.fail_here(fmt::format("'{}' is given twice", name));
      names.push_back(name);
    }
  }
  contract.splits_ = parse_splits(document.require("splits"), contract);
  document.refuse_unread();
  return contract;
}

}  // namespace muster
