// "category": a text or integer to its number in the vocabulary of the training split.

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

/// Ids: 0 for values that are not in the vocabulary (rare ones of the training split, new ones), then one for
/// missing values where the field has `missing: indicator`, then the vocabulary.
class Category : public Transform {
 public:
  Category(const Field& field, std::vector<std::string> vocabulary, std::string imputed)
      : field_(field), vocabulary_(std::move(vocabulary)), imputed_(std::move(imputed)) {
    first_ = field.missing == Missing::kIndicator ? 2 : 1;
    for (std::size_t i = 0; i < vocabulary_.size(); ++i) {
      const auto id = first_ + static_cast<std::int64_t>(i);
      ids_.emplace(vocabulary_[i], id);
      if (!field.is_text()) add_number(vocabulary_[i], id);
    }
    if (field.missing == Missing::kIndicator) {
      missing_ = 1;
    } else if (const auto found = ids_.find(imputed_); found != ids_.end()) {
      missing_ = found->second;
    }
  }

  std::size_t width() const override { return 1; }
  std::int64_t ids() const override { return first_ + static_cast<std::int64_t>(vocabulary_.size()); }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    if (field_.is_text()) {
      for (const RowTarget& target : targets)
        target.ids()[offset] = of_text(text_at(field_, column, target.row_in_block));
      return;
    }
    visit(field_.dtype, [&]<typename T>(T*) {
      const auto* values = reinterpret_cast<const T*>(column.data());
      for (const RowTarget& target : targets) target.ids()[offset] = of_number(values[target.row_in_block]);
    });
  }
  Json to_json() const override { return {{"vocabulary", vocabulary_}, {"imputed", imputed_}}; }

 private:
  void add_number(const std::string& text, std::int64_t id) {
    // Signed and unsigned 64-bit integers share a key: which one it is, the field says.
    const bool is_negative = !text.empty() && text.front() == '-';
    const std::uint64_t key = is_negative
                                  ? static_cast<std::uint64_t>(std::strtoll(text.c_str(), nullptr, 10))
                                  : std::strtoull(text.c_str(), nullptr, 10);
    numbers_.emplace(key, id);
  }
  std::int64_t of_text(std::string_view text) const {
    if (text.empty()) return missing_;
    const auto found = ids_.find(text);
    return found == ids_.end() ? 0 : found->second;
  }
  template <typename T>
  std::int64_t of_number(T value) const {
    if (field_.is_missing(value)) return missing_;
    if constexpr (std::is_floating_point_v<T>) {
      return 0;  // refused by the contract's parser
    } else {
      const auto found = numbers_.find(static_cast<std::uint64_t>(value));
      return found == numbers_.end() ? 0 : found->second;
    }
  }

  Field field_;
  std::vector<std::string> vocabulary_;
  std::string imputed_;  ///< what stands for a missing value, "" for none
  std::int64_t first_ = 1;
  std::int64_t missing_ = 0;
  std::unordered_map<std::string, std::int64_t, TextHash, std::equal_to<>> ids_;
  std::unordered_map<std::uint64_t, std::int64_t> numbers_;
};

std::string imputed_value(const Field& field, const ValueCounts& counts) {
  if (field.missing != Missing::kImpute) return "";
  if (field.impute.kind == Imputation::Kind::kValue)
    return field.is_text() ? field.impute.text : fmt::format("{:.0f}", field.impute.value);
  const auto most = counts.by_count(1);
  return most.empty() ? "" : most.front().first;
}

std::unique_ptr<Transform> fit(const Field& field, const Json& options, const FieldSummary& summary) {
  const ValueCounts counts = summary.counts.value_or(ValueCounts());
  if (counts.given_up()) {
    fail(ErrorCode::kConfig,
         "field '{}' has more than {} different values in the training split: that is no category; use "
         "`hash`, "
         "or make it a key",
         field.name, ValueCounts::kMost);
  }
  std::vector<std::string> vocabulary;
  const auto least = options.at("min_count").get<std::uint64_t>();
  for (const auto& [value, count] : counts.by_count(options.at("max_size").get<std::uint64_t>())) {
    if (count >= least) vocabulary.push_back(value);
  }
  return std::make_unique<Category>(field, std::move(vocabulary), imputed_value(field, counts));
}

std::unique_ptr<Transform> load(const Field& field, const Json&, const Json& json) {
  const std::string where = "transform 'category' of field '" + field.name + "'";
  return std::make_unique<Category>(field, member<std::vector<std::string>>(json, "vocabulary", where),
                                    member<std::string>(json, "imputed", where));
}

void check(const Field& field, const Json& options) {
  if (is_float(field.dtype) || !field.shape.empty())
    fail(ErrorCode::kConfig,
         "'category' is for one text or integer per row; 'buckets' makes some of a float");
  if (field.missing == Missing::kImpute && !field.is_text() && field.impute.kind != Imputation::Kind::kMode &&
      field.impute.kind != Imputation::Kind::kValue)
    fail(ErrorCode::kConfig, "a missing category is imputed by `mode` or `{{value: …}}`");
  if (options.at("max_size").get<std::uint64_t>() < 1)
    fail(ErrorCode::kConfig, "max_size of a vocabulary is at least 1");
}

const bool kRegistered = transforms().add(
    "category",
    {.options = {{"min_count", OptionType::kUnsigned, 5, "values that occur less often share id 0", {}},
                 {"max_size", OptionType::kUnsigned, 65536, "most values in the vocabulary", {}}},
     .fit = fit,
     .load = load,
     .needs = {.counts = true},
     .reads = TransformFactory::Reads::kRaw,
     .takes_texts = true,
     .categories = true,
     .check = check,
     .help = "a text or integer to its number in the training split's vocabulary"});

}  // namespace

}  // namespace muster
