// "tokens": every integer of a window or array to its number in the vocabulary of the training split.

#include <charconv>
#include <unordered_map>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

/// The number that a vocabulary's text stands for, as 64 bits (two's complement); nothing if it is none.
std::optional<std::uint64_t> bits_of(const std::string& text) {
  const char* end = text.data() + text.size();
  std::int64_t negative = 0;
  std::uint64_t positive = 0;
  const bool has_sign = text.starts_with('-');
  const auto read =
      has_sign ? std::from_chars(text.data(), end, negative) : std::from_chars(text.data(), end, positive);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  return has_sign ? static_cast<std::uint64_t>(negative) : positive;
}

/// Ids: 0 for integers that are not in the vocabulary, then the vocabulary.
class Tokens : public Transform {
 public:
  Tokens(const Field& field, std::vector<std::string> vocabulary, const std::string& where)
      : field_(field), vocabulary_(std::move(vocabulary)) {
    for (const std::string& text : vocabulary_) {
      const auto value = bits_of(text);
      const bool is_new = value && ids_.emplace(*value, static_cast<std::int64_t>(ids_.size()) + 1).second;
      if (!is_new)
        throw Error(ErrorCode::kStorage,
                    fmt::format("'{}' of the vocabulary is no integer, or is there twice", text), where);
    }
    // Few values: a table is faster than a hash.
    visit(field_.dtype, [&]<typename T>(T*) {
      if constexpr (sizeof(T) <= 2) {
        table_.resize(std::size_t{1} << (8 * sizeof(T)));
        for (std::size_t i = 0; i < table_.size(); ++i) table_[i] = find(static_cast<T>(i));
      }
    });
  }

  std::size_t width() const override { return field_.values_per_row(); }
  std::int64_t ids() const override { return static_cast<std::int64_t>(vocabulary_.size()) + 1; }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    visit(field_.dtype, [&]<typename T>(T*) {
      if constexpr (std::is_integral_v<T>) {
        const std::size_t width = field_.values_per_row();
        for (const RowTarget& target : targets) {
          const T* values = reinterpret_cast<const T*>(column.data()) + target.row_in_block * width;
          for (std::size_t i = 0; i < width; ++i) target.ids()[offset + i] = id(values[i]);
        }
      }
    });
  }
  Json to_json() const override { return {{"vocabulary", vocabulary_}}; }

 private:
  template <typename T>
  std::int64_t id(T value) const {
    if constexpr (sizeof(T) <= 2) return table_[static_cast<std::make_unsigned_t<T>>(value)];
    return find(value);
  }
  template <typename T>
  std::int64_t find(T value) const {
    const auto found = ids_.find(static_cast<std::uint64_t>(value));
    return found == ids_.end() ? 0 : found->second;
  }

  Field field_;
  std::vector<std::string> vocabulary_;
  std::unordered_map<std::uint64_t, std::int64_t> ids_;
  std::vector<std::int64_t> table_;  ///< by the value's bits, of types of at most two bytes
};

std::unique_ptr<Transform> fit(const Field& field, const Json& options, const FieldSummary& summary) {
  const ValueCounts counts = summary.counts.value_or(ValueCounts());
  if (counts.given_up()) {
    fail(ErrorCode::kConfig,
         "field '{}' has more than {} different values in the training split: these are no tokens",
         field.name, ValueCounts::kMost);
  }
  std::vector<std::string> vocabulary;
  const auto least = options.at("min_count").get<std::uint64_t>();
  for (const auto& [value, count] : counts.by_count(options.at("max_size").get<std::uint64_t>())) {
    if (count >= least) vocabulary.push_back(value);
  }
  return std::make_unique<Tokens>(field, std::move(vocabulary), "the training split");
}

std::unique_ptr<Transform> load(const Field& field, const Json&, const Json& json) {
  const std::string where = "transform 'tokens' of field '" + field.name + "'";
  return std::make_unique<Tokens>(field, member<std::vector<std::string>>(json, "vocabulary", where), where);
}

void check(const Field& field, const Json& options) {
  if (is_float(field.dtype) || field.is_text() || field.shape.empty())
    fail(ErrorCode::kConfig, "'tokens' is for windows and arrays of integers; 'category' makes an id of one");
  if (options.at("max_size").get<std::uint64_t>() < 1)
    fail(ErrorCode::kConfig, "max_size of a vocabulary is at least 1");
}

const bool kRegistered = transforms().add(
    "tokens",
    {.options = {{"min_count", OptionType::kUnsigned, 1, "integers that occur less often share id 0", {}},
                 {"max_size", OptionType::kUnsigned, 65536, "most integers in the vocabulary", {}}},
     .fit = fit,
     .load = load,
     .needs = {.counts = true},
     .reads = TransformFactory::Reads::kRaw,
     .categories = true,
     .check = check,
     .help = "each integer of a window or array to its number in the training split's vocabulary"});

}  // namespace

}  // namespace muster
