// Contract::parse, one field: its type, its values, what is missing, its transforms.
#include "data_loader/contract/contract_parser.h"

#include <cmath>
#include <limits>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

constexpr std::uint64_t kMaxRowBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxTextBytes = 65536;
/// Integers of at least this size are not told apart by the double that ranges are kept in.
constexpr double kExact = 0x1p53;

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

/// One name, or several from the outside in.
std::vector<std::string> parse_member(const YamlNode& node) {
  std::vector<std::string> member;
  if (node.is_list()) {
    for (const YamlNode& item : node.items()) member.push_back(item.as_string());
  } else {
    member.push_back(node.as_string());
  }
  const bool named = std::ranges::none_of(member, [](const std::string& name) { return name.empty(); });
  if (member.empty() || !named) node.fail_here("a member of a compound dataset has a name");
  return member;
}

std::vector<std::uint64_t> parse_shape(const YamlNode& node, DType dtype) {
  std::vector<std::uint64_t> shape;
  if (dtype == DType::kString) node.fail_here("a text has no shape: one per row");
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

/// Rows that are windows of a stream of tokens.
void parse_window(const YamlNode& node, Field& field) {
  const YamlNode* window = node.find("window");
  if (window == nullptr) return;
  if (node.find("shape") != nullptr) window->fail_here("a window is [length + 1]: leave `shape` out");
  if (field.is_text() || is_float(field.dtype))
    window->fail_here(
        fmt::format("a window is of tokens, which are integers, not {}", to_string(field.dtype)));
  if (field.role != Role::kFeature) window->fail_here("only a feature has windows");
  TokenWindow made;
  const YamlNode& length = window->require("length");
  made.length = length.as_unsigned();
  if (made.length == 0) length.fail_here("a window has at least 1 token and its next one");
  if (made.length >= kMaxRowBytes / size_of(field.dtype))
    length.fail_here(fmt::format("a row may have at most {}", human_bytes(kMaxRowBytes)));
  made.stride = made.length;
  if (const YamlNode* stride = window->find("stride")) {
    made.stride = stride->as_unsigned();
    if (made.stride == 0 || made.stride > made.width())
      stride->fail_here(fmt::format(
          "a stride of 1 to {} was expected: beyond length + 1 tokens would be in no row", made.width()));
  }
  window->refuse_unread();
  field.window = made;
  field.shape = {made.width()};
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
    field.allowed.clear();
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

void parse_texts(const YamlNode& node, Field& field) {
  const YamlNode* length = node.find("length");
  if (!field.is_text()) {
    if (length != nullptr) length->fail_here("only texts (`dtype: string`) have a length");
    return;
  }
  if (length == nullptr) node.fail_here("a text needs `length`, the most bytes one can have");
  field.length = length->as_unsigned();
  if (field.length == 0 || field.length > kMaxTextBytes)
    length->fail_here(fmt::format("a length of 1 to {} bytes was expected", kMaxTextBytes));
  if (const YamlNode* range = node.find("range"))
    range->fail_here("a text has no range; `allowed` lists texts");
  if (const YamlNode* allowed = node.find("allowed")) {
    if (allowed->items().empty()) allowed->fail_here("names no value; leave it out to allow all");
    for (const YamlNode& item : allowed->items()) {
      field.allowed_texts.push_back(item.as_string());
      const std::string& text = field.allowed_texts.back();
      if (text.empty()) item.fail_here("an empty text is a missing value: see `missing`");
      if (text.size() > field.length)
        item.fail_here(fmt::format("'{}' is longer than {} bytes", text, field.length));
    }
    std::sort(field.allowed_texts.begin(), field.allowed_texts.end());
    const auto twice = std::adjacent_find(field.allowed_texts.begin(), field.allowed_texts.end());
    if (twice != field.allowed_texts.end()) allowed->fail_here(fmt::format("'{}' is given twice", *twice));
  }
}

void parse_imputation(const YamlNode& node, Field& field) {
  const YamlNode* impute = node.find("impute");
  if (field.is_text()) field.impute.kind = Imputation::Kind::kMode;
  if (impute == nullptr) return;
  if (field.missing != Missing::kImpute && field.missing != Missing::kIndicator)
    impute->fail_here("says what replaces a missing value: it goes with `missing: impute` or `indicator`");
  if (impute->is_map()) {
    const YamlNode& value = impute->require("value");
    field.impute.kind = Imputation::Kind::kValue;
    if (field.is_text())
      field.impute.text = value.as_string();
    else
      field.impute.value = parse_value(value, field);
    if (field.is_text() && field.impute.text.empty()) value.fail_here("an empty text is a missing value");
    impute->refuse_unread();
    return;
  }
  field.impute.kind =
      static_cast<Imputation::Kind>(choose(*impute, "imputation", {"mean", "median", "mode"}));
  if (field.is_text() && field.impute.kind != Imputation::Kind::kMode)
    impute->fail_here("texts have no mean or median: `mode`, or `{value: …}`");
}

void parse_missing(const YamlNode& node, Field& field) {
  if (const YamlNode* missing = node.find("missing")) {
    field.missing = static_cast<Missing>(
        choose(*missing, "rule for missing values", {"forbid", "impute", "indicator", "drop"}));
    const bool imputed = field.missing == Missing::kImpute || field.missing == Missing::kIndicator;
    if (imputed && field.role != Role::kFeature)
      missing->fail_here("only features are imputed; `drop` leaves out rows without it");
    if (field.can_be_missing() && !field.shape.empty())
      missing->fail_here("only one value per row can be missing; this has a shape");
  }
  if (const YamlNode* stands = node.find("missing_value")) {
    if (field.is_text()) stands->fail_here("a text is missing where it is empty");
    field.missing_value = parse_value(*stands, field);
    if (!field.can_be_missing())
      stands->fail_here("stands for a missing value: it goes with `missing: impute`, `indicator` or `drop`");
  }
  if (field.can_be_missing() && !is_float(field.dtype) && !field.is_text() && !field.missing_value) {
    node.require("missing").fail_here(fmt::format(
        "{} has no NaN: `missing_value: …` says which number stands for a missing one, or use a float type",
        to_string(field.dtype)));
  }
  if (const YamlNode* most = node.find("max_missing")) {
    field.max_missing = most->as_number();
    if (!(*field.max_missing >= 0 && *field.max_missing <= 1)) most->fail_here("is a share, in [0, 1]");
    if (!field.can_be_missing()) most->fail_here("goes with `missing: impute`, `indicator` or `drop`");
  }
  parse_imputation(node, field);
}

TransformStep parse_step(const YamlNode& node) {
  TransformStep step;
  const YamlNode* options = nullptr;
  if (node.is_map()) {
    if (node.entries().size() != 1)
      node.fail_here("one transform was expected, like `clip: {low: 0}`; several go in a list");
    step.name = node.entries().front().first;
    options = node.find(step.name);
  } else {
    step.name = node.as_string();
  }
  const TransformFactory& factory =
      placed(node, [&]() -> const TransformFactory& { return transforms().get(step.name); });
  step.options = read_options(factory.options, options != nullptr && options->is_null() ? nullptr : options);
  return step;
}

std::string default_transform(const Field& field) {
  if (field.is_text()) return "category";
  if (field.window) return "tokens";
  if (field.shape.empty()) return "standardize";
  return field.dtype == DType::kUInt8 ? "scale" : "none";
}

void parse_transform(const YamlNode& node, Field& field) {
  const YamlNode* transform = node.find("transform");
  const bool can_be_input = field.role == Role::kFeature || field.role == Role::kTime;
  if (transform != nullptr && !can_be_input) transform->fail_here("only features and times are transformed");
  if (transform == nullptr && field.role == Role::kFeature) {
    const std::string name = default_transform(field);
    field.transform.push_back({name, read_options(transforms().get(name).options, nullptr)});
  }
  if (transform == nullptr) return;
  if (transform->is_list()) {
    if (transform->items().empty())
      transform->fail_here("names no transform; `none` takes values as they are");
    for (const YamlNode& item : transform->items()) field.transform.push_back(parse_step(item));
  } else {
    field.transform.push_back(parse_step(*transform));
  }
  for (std::size_t i = 0; i < field.transform.size(); ++i) {
    const TransformFactory& factory = transforms().get(field.transform[i].name);
    const YamlNode& at = transform->is_list() ? transform->items()[i] : *transform;
    if (i + 1 < field.transform.size() && !factory.map)
      at.fail_here(fmt::format("'{}' can only be the last: what it makes is no number any more, or is fitted",
                               field.transform[i].name));
    if (i > 0 && factory.reads == TransformFactory::Reads::kRaw)
      at.fail_here(
          fmt::format("'{}' takes values as they are: nothing can come before it", field.transform[i].name));
    if (field.is_text() && !factory.takes_texts)
      at.fail_here(fmt::format("'{}' is for numbers, this is a text", field.transform[i].name));
    placed(at, [&] {
      if (factory.check) factory.check(field, field.transform[i].options);
    });
  }
}

void check_role(const YamlNode& node, const Field& field) {
  const bool one_number = field.shape.empty();
  if (!one_number && (field.role == Role::kTime || field.role == Role::kWeight)) {
    node.fail_here(fmt::format("'{}' must be one number per row, without a shape, to be the time or weight",
                               field.name));
  }
  if (field.role == Role::kTime && field.dtype == DType::kFloat32) {
    node.fail_here(fmt::format(
        "'{}' cannot be the time: float32 counts seconds only up to 2^24; use an integer or float64",
        field.name));
  }
  if (field.is_text() && field.role != Role::kFeature && field.role != Role::kKey)
    node.fail_here(fmt::format(
        "'{}' is a text: it can be a feature or a key; `values:` of an ingest spec makes numbers of texts",
        field.name));
  if (!one_number && field.role == Role::kFeature &&
      (field.name == "features" || field.name == "label" || field.name == "categories")) {
    node.fail_here(fmt::format(
        "'{}' is the name of a tensor that Muster makes itself: rename the field (`path` can stay)",
        field.name));
  }
}

}  // namespace

Field parse_field(const std::string& name, const YamlNode& node) {
  check_name(node, name);
  if (!node.is_map())
    node.fail_here(fmt::format("'{}' needs at least a dtype: `{}: {{dtype: float32}}`", name, name));
  Field field;
  field.name = name;
  const YamlNode* path = node.find("path");
  field.path = path != nullptr ? parse_path(*path) : name;
  if (const YamlNode* member = node.find("member")) field.member = parse_member(*member);
  const YamlNode& dtype = node.require("dtype");
  const bool boolean = dtype.as_string() == "bool";  // as HDF5 and h5py store it
  field.dtype = boolean ? DType::kUInt8 : placed(dtype, [&] { return parse_dtype(dtype.as_string()); });
  if (boolean) field.allowed = {0, 1};
  if (const YamlNode* shape = node.find("shape")) field.shape = parse_shape(*shape, field.dtype);
  if (const YamlNode* unit = node.find("unit")) field.unit = unit->as_string();
  if (const YamlNode* role = node.find("role")) {
    field.role = static_cast<Role>(choose(*role, "role", {"feature", "label", "time", "key", "weight"}));
  }
  parse_window(node, field);
  check_role(node, field);
  parse_texts(node, field);
  if (!field.is_text()) parse_values(node, field);
  parse_missing(node, field);
  if (const YamlNode* unique = node.find("unique")) {
    field.unique = unique->as_boolean();
    if (field.unique && (is_float(field.dtype) || !field.shape.empty()))
      unique->fail_here("only integers and texts without a shape can be unique");
  }
  if (const YamlNode* known = node.find("known_at")) {
    field.known_at = known->as_string();
    if (field.role != Role::kFeature) known->fail_here("only of a feature it matters when it became known");
    if (field.known_at.empty()) known->fail_here("names no field");
  }
  parse_transform(node, field);
  node.refuse_unread();
  return field;
}

}  // namespace muster
