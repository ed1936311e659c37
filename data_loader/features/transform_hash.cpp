// "hash": a text or integer to one of a fixed number of ids, for more values than a vocabulary can hold.

#include <fmt/format.h>

#include "core/hash.h"
#include "core/random.h"
#include "data_loader/contract/transform.h"

namespace muster {

namespace {

std::uint64_t hash_of(std::string_view text, std::uint64_t seed) {
  return random_key(seed, Purpose::kCategoryHash, {fnv1a(std::as_bytes(std::span(text)))});
}

class Hash : public Transform {
 public:
  Hash(const Field& field, const Json& options)
      : field_(field),
        buckets_(options.at("buckets").get<std::uint64_t>()),
        seed_(options.at("seed").get<std::uint64_t>()) {}

  std::size_t width() const override { return 1; }
  /// The last one for missing values where the field has `missing: indicator`.
  std::int64_t ids() const override {
    return static_cast<std::int64_t>(buckets_) + (field_.missing == Missing::kIndicator ? 1 : 0);
  }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    if (field_.is_text()) {
      for (const RowTarget& target : targets) {
        const std::string_view text = text_at(field_, column, target.row_in_block);
        target.ids()[offset] = text.empty() ? missing() : id(text);
      }
      return;
    }
    visit(field_.dtype, [&]<typename T>(T*) {
      const auto* values = reinterpret_cast<const T*>(column.data());
      for (const RowTarget& target : targets) {
        const T value = values[target.row_in_block];
        const fmt::basic_memory_buffer<char, 32> text = [&] {
          fmt::basic_memory_buffer<char, 32> buffer;
          fmt::format_to(std::back_inserter(buffer), "{}", value);
          return buffer;
        }();
        target.ids()[offset] = field_.is_missing(value) ? missing() : id({text.data(), text.size()});
      }
    });
  }
  Json to_json() const override { return Json::object(); }

 private:
  std::int64_t id(std::string_view text) const {
    return static_cast<std::int64_t>(hash_of(text, seed_) % buckets_);
  }
  std::int64_t missing() const { return field_.missing == Missing::kIndicator ? ids() - 1 : id(""); }

  Field field_;
  std::uint64_t buckets_;
  std::uint64_t seed_;
};

void check(const Field& field, const Json& options) {
  if (is_float(field.dtype) || !field.shape.empty())
    fail(ErrorCode::kConfig, "'hash' is for one text or integer per row");
  if (field.missing == Missing::kImpute)
    fail(ErrorCode::kConfig, "a hashed field cannot be imputed: `missing: indicator` gives it an id");
  const auto buckets = options.at("buckets").get<std::uint64_t>();
  if (buckets < 2 || buckets > (std::uint64_t{1} << 24))
    fail(ErrorCode::kConfig, "2 to 2^24 buckets are possible, not {}", buckets);
}

const bool kRegistered = transforms().add(
    "hash", {.options = {{"buckets", OptionType::kUnsigned, 1024, "number of ids", {}},
                         {"seed", OptionType::kUnsigned, 0, "another seed, other collisions", {}}},
             .fit = [](const Field& field, const Json& options,
                       const FieldSummary&) { return std::make_unique<Hash>(field, options); },
             .load = [](const Field& field, const Json& options,
                        const Json&) { return std::make_unique<Hash>(field, options); },
             .reads = TransformFactory::Reads::kRaw,
             .takes_texts = true,
             .categories = true,
             .check = check,
             .help = "a text or integer to one of a fixed number of ids, by hashing"});

}  // namespace

}  // namespace muster
