// "scale": x / the largest value of the field's integer type, so that images lie in [0, 1].

#include <limits>
#include <type_traits>

#include "data_loader/contract/transform.h"
#include "data_loader/features/map_values.h"

namespace muster {

namespace {

class Scale : public Transform {
 public:
  Scale(const Field& field, double divisor)
      : type_(field.dtype), width_(field.values_per_row()), divisor_(divisor) {}

  std::size_t width() const override { return width_; }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    map_values(type_, width_, column, targets, offset, [factor = 1 / divisor_](auto value) {
      // What fits a float exactly needs no double: images are half the time of a batch.
      using Number = std::conditional_t<sizeof(value) <= 2, float, double>;
      return static_cast<float>(static_cast<Number>(value) * static_cast<Number>(factor));
    });
  }
  Json to_json() const override { return {{"divisor", divisor_}}; }

 private:
  DType type_;
  std::size_t width_;
  double divisor_;
};

void check(const Field& field, const Json&) {
  if (!is_float(field.dtype) && !field.can_be_missing()) return;
  fail(
      ErrorCode::kConfig,
      "field '{}' is {}: transform 'scale' is for integer types without missing values; use 'standardize' or "
      "'none'",
      field.name, to_string(field.dtype));
}

std::unique_ptr<Transform> fit(const Field& field, const Json&, const FieldSummary&) {
  const double largest =
      visit(field.dtype, []<typename T>(T*) { return static_cast<double>(std::numeric_limits<T>::max()); });
  return std::make_unique<Scale>(field, largest);
}

std::unique_ptr<Transform> load(const Field& field, const Json&, const Json& json) {
  const std::string where = "transform 'scale' of field '" + field.name + "'";
  const auto divisor = member<double>(json, "divisor", where);
  if (!(divisor > 0)) throw Error(ErrorCode::kStorage, "'divisor' is not greater than 0", where);
  return std::make_unique<Scale>(field, divisor);
}

const bool kRegistered =
    transforms().add("scale", {.options = {},
                               .fit = fit,
                               .load = load,
                               .reads = TransformFactory::Reads::kRaw,
                               .check = check,
                               .help = "x / the largest value of the integer type: images to [0, 1]"});

}  // namespace

}  // namespace muster
