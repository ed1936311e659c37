// "minmax": (x - least) / (greatest - least) of the training split, so that it lies in [0, 1] there.

#include "data_loader/contract/transform.h"
#include "data_loader/features/map_values.h"

namespace muster {

namespace {

class MinMax : public Transform {
 public:
  /// A constant field becomes 0.
  MinMax(const Field& field, double least, double greatest)
      : type_(field.dtype),
        width_(field.values_per_row()),
        least_(least),
        greatest_(greatest),
        factor_(greatest > least ? 1 / (greatest - least) : 0) {}

  std::size_t width() const override { return width_; }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    map_values(type_, width_, column, targets, offset, [least = least_, factor = factor_](auto value) {
      return static_cast<float>((static_cast<double>(value) - least) * factor);
    });
  }
  Json to_json() const override { return {{"least", least_}, {"greatest", greatest_}}; }

 private:
  DType type_;
  std::size_t width_;
  double least_;
  double greatest_;
  double factor_;
};

std::unique_ptr<Transform> fit(const Field& field, const Json&, const FieldSummary& summary) {
  return std::make_unique<MinMax>(field, summary.numbers.minimum, summary.numbers.maximum);
}

std::unique_ptr<Transform> load(const Field& field, const Json&, const Json& json) {
  const std::string where = "transform 'minmax' of field '" + field.name + "'";
  return std::make_unique<MinMax>(field, member<double>(json, "least", where),
                                  member<double>(json, "greatest", where));
}

const bool kRegistered =
    transforms().add("minmax", {.options = {},
                                .fit = fit,
                                .load = load,
                                .help = "least to 0, greatest to 1, both of the training split"});

}  // namespace

}  // namespace muster
