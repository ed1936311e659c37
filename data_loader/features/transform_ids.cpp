// "ids": integers that are ids already, as another program numbered them.

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

/// Every whole number up to this can be an id: embeddings beyond it do not fit anywhere.
constexpr double kMost = 0x1p31;

class Ids : public Transform {
 public:
  Ids(const Field& field, std::int64_t size) : field_(field), size_(size) {}

  std::size_t width() const override { return field_.values_per_row(); }
  std::int64_t ids() const override { return size_; }
  bool ids_can_be_bad() const override { return true; }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    visit(field_.dtype, [&]<typename T>(T*) {
      const std::size_t width = field_.values_per_row();
      for (const RowTarget& target : targets) {
        const T* values = reinterpret_cast<const T*>(column.data()) + target.row_in_block * width;
        for (std::size_t i = 0; i < width; ++i)
          target.ids()[offset + i] = static_cast<std::int64_t>(values[i]);
      }
    });
  }
  Json to_json() const override { return {{"size", size_}}; }

 private:
  Field field_;
  std::int64_t size_;
};

void check(const Field& field, const Json& options) {
  if (is_float(field.dtype) || field.is_text())
    fail(ErrorCode::kConfig, "'ids' is for integers that are ids already");
  if (field.missing != Missing::kForbid) fail(ErrorCode::kConfig, "an id cannot be missing");
  if (!field.minimum || !field.maximum || *field.minimum < 0 || *field.maximum >= kMost)
    fail(ErrorCode::kConfig, "'ids' needs the field's `range: [0, GREATEST]`, below 2^31");
  const auto size = options.at("size").get<std::uint64_t>();
  if (size > 0 && (static_cast<double>(size) <= *field.maximum || static_cast<double>(size) > kMost)) {
    fail(ErrorCode::kConfig, "`size` {} is too small for ids up to {:.0f}, or above 2^31", size,
         *field.maximum);
  }
}

const bool kRegistered = transforms().add(
    "ids",
    {.options = {{"size",
                  OptionType::kUnsigned,
                  0,
                  "how many ids there are, also such as never occur; 0: up to the greatest of the field's "
                  "range",
                  {}}},
     .fit =
         [](const Field& field, const Json& options, const FieldSummary&) {
           const auto size = options.at("size").get<std::int64_t>();
           return std::make_unique<Ids>(field,
                                        size > 0 ? size : static_cast<std::int64_t>(*field.maximum) + 1);
         },
     .load =
         [](const Field& field, const Json&, const Json& json) {
           const std::string where = "transform 'ids' of field '" + field.name + "'";
           return std::make_unique<Ids>(field, member<std::int64_t>(json, "size", where));
         },
     .reads = TransformFactory::Reads::kRaw,
     .categories = true,
     .check = check,
     .help = "integers that are ids already, as they are"});

}  // namespace

}  // namespace muster
