// Contract::parse: contract.yaml's rules, each fault with its place in the file.
#include <algorithm>
#include <array>

#include "data_loader/contract/contract_parser.h"

namespace muster {

namespace {

constexpr std::array<const char*, 3> kSplits = {"train", "validation", "test"};

std::vector<FractionSplit::Share> parse_shares(const YamlNode& node) {
  std::vector<FractionSplit::Share> shares;
  double sum = 0;
  for (const char* name : kSplits) {
    const YamlNode* share = node.find(name);
    if (share == nullptr) continue;
    const double fraction = share->as_number();
    if (!(fraction > 0 && fraction <= 1))
      share->fail_here(fmt::format("a share must lie in (0, 1], not be {}", fraction));
    sum += fraction;
    if (sum > 1 + 1e-9) share->fail_here(fmt::format("the shares add up to {}, more than 1", sum));
    shares.push_back({name, fraction});
  }
  return shares;
}

std::uint64_t parse_seed(const YamlNode& node) {
  const YamlNode* seed = node.find("seed");
  return seed == nullptr ? 0 : seed->as_unsigned();
}

/// The label whose shares are kept: the one that `label` names, or the only one; nullptr for none.
const Field* stratifying_label(const YamlNode& node, const Contract& contract) {
  const std::vector<std::size_t> labels = contract.labels();
  const YamlNode* named = node.find("label");
  if (named == nullptr) {
    if (labels.size() < 2) return contract.only(Role::kLabel);
    node.require("stratified")
        .fail_here(fmt::format("there are {} labels: `label: {}` or another says whose shares are kept",
                               labels.size(), contract.fields()[labels.front()].name));
  }
  const Field& label = placed(*named, [&]() -> const Field& { return contract.field(named->as_string()); });
  if (label.role != Role::kLabel) named->fail_here(fmt::format("'{}' must have `role: label`", label.name));
  return &label;
}

FractionSplit parse_fractions(const YamlNode& node, const Contract& contract) {
  FractionSplit rule;
  rule.seed = parse_seed(node);
  rule.shares = parse_shares(node);
  const YamlNode* stratified = node.find("stratified");
  rule.stratified = stratified != nullptr && stratified->as_boolean();
  if (!rule.stratified) {
    if (const YamlNode* label = node.find("label"))
      label->fail_here("says whose shares are kept: it goes with `stratified: true`");
    return rule;
  }
  const Field* label = stratifying_label(node, contract);
  constexpr std::size_t kMostValues = 254;  // each is a byte until the rows are dealt
  const bool one_number = label != nullptr && label->shape.empty();
  if (!one_number || label->allowed.empty() || label->allowed.size() > kMostValues)
    stratified->fail_here(
        fmt::format("needs a field with `role: label`, one number per row, whose `allowed` lists up to {} "
                    "values",
                    kMostValues));
  if (contract.labels().size() > 1) rule.label = label->name;  // the only one is the default
  return rule;
}

/// The first rows, then the next.
OrderSplit parse_order(const YamlNode& node) {
  OrderSplit rule;
  if (const YamlNode* gap = node.find("gap_rows")) rule.gap_rows = gap->as_unsigned();
  rule.shares = parse_shares(node);
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
    field.fail_here(fmt::format(
        "'{}' must be an integer or a text without a shape, so that equal keys are equal", key.name));
  FractionSplit rule;
  rule.seed = parse_seed(node);
  rule.shares = parse_shares(node);
  rule.key = key.name;
  return rule;
}

SplitRule parse_splits(const YamlNode& node, const Contract& contract) {
  const auto parse_rule = [&]() -> SplitRule {
    switch (choose(node.require("by"), "way to split", {"time", "fraction", "order", "key"})) {
      case 0:
        return parse_times(node, contract);
      case 1:
        return parse_fractions(node, contract);
      case 2:
        return parse_order(node);
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

/// Windows that overlap put the same tokens into several rows: splits must keep them apart.
void check_overlaps(const YamlNode& splits, const Contract& contract) {
  if (contract.split_names().size() < 2) return;
  for (const Field& field : contract.fields()) {
    const std::uint64_t apart = field.window ? field.window->rows_between_strangers() : 0;
    const auto* order = std::get_if<OrderSplit>(&contract.splits());
    if (apart == 0 || (order != nullptr && order->gap_rows >= apart)) continue;
    const YamlNode* gap = splits.find("gap_rows");
    (gap != nullptr ? *gap : splits.require("by"))
        .fail_here(
            fmt::format("the windows of '{}' overlap, so that rows of two splits would share tokens: `by: "
                        "order` with `gap_rows: {}` or more keeps them apart",
                        field.name, apart));
  }
}

/// What `known_at` names: a time in the unit of the time field, of each row.
void check_known_at(const YamlNode& node, const Field& field, const Contract& contract) {
  const YamlNode& place = node.require("known_at");
  const Field& known = placed(place, [&]() -> const Field& { return contract.field(field.known_at); });
  const Field* time = contract.only(Role::kTime);
  if (time == nullptr)
    place.fail_here("is compared with the row's time: the contract has no field with `role: time`");
  if (known.is_text() || !known.shape.empty() || known.dtype == DType::kFloat32)
    place.fail_here(
        fmt::format("'{}' is no time: it must be an integer or float64, one number per row", known.name));
  if (!known.unit.empty() && !time->unit.empty() && known.unit != time->unit)
    place.fail_here(
        fmt::format("'{}' is in '{}' and the time '{}' in '{}': they are compared, so they have one unit",
                    known.name, known.unit, time->name, time->unit));
}

void check_fields(const YamlNode& node, const std::vector<Field>& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const YamlNode& place = node.entries()[i].second;
    for (std::size_t j = 0; j < i; ++j) {
      if (fields[i].path == fields[j].path && fields[i].member == fields[j].member) {
        place.fail_here(fmt::format("'{}' and '{}' both read the dataset '{}'", fields[j].name,
                                    fields[i].name, fields[i].location()));
      }
      if (fields[i].role == fields[j].role && fields[i].role != Role::kFeature &&
          fields[i].role != Role::kKey && fields[i].role != Role::kLabel) {
        place.fail_here(fmt::format("'{}' and '{}' have the same role; there can be one time and one weight",
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
  for (std::size_t i = 0; i < contract.fields_.size(); ++i) {
    const std::string& known_at = contract.fields_[i].known_at;
    if (known_at.empty()) continue;
    check_known_at(fields.entries()[i].second, contract.fields_[i], contract);
    std::ranges::find(contract.fields_, known_at, &Field::name)->tells_known = true;
  }
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
  if (const YamlNode* partitions = document.find("partitions")) {
    if (partitions->items().empty())
      partitions->fail_here("names no file; leave it out where the partitions lie beside the contract");
    for (const YamlNode& item : partitions->items()) contract.partitions_.push_back(item.as_string());
  }
  contract.splits_ = parse_splits(document.require("splits"), contract);
  check_overlaps(document.require("splits"), contract);
  document.refuse_unread();
  return contract;
}

}  // namespace muster
