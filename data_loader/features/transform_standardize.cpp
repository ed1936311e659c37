// "standardize": (x - mean) / deviation, both of the training split.

#include <cmath>

#include "data_loader/contract/transform.h"
#include "data_loader/features/map_values.h"

namespace muster {

namespace {

class Standardize : public Transform {
 public:
  /// A deviation of 0 stands for a constant field, which becomes 0.
  Standardize(const Field& field, double mean, double deviation)
      : type_(field.dtype),
        width_(field.values_per_row()),
        mean_(mean),
        deviation_(deviation),
        factor_(deviation > 0 ? 1 / deviation : 0) {}

  std::size_t width() const override { return width_; }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    map_values(type_, width_, column, targets, offset, [mean = mean_, factor = factor_](auto value) {
      return static_cast<float>((static_cast<double>(value) - mean) * factor);
    });
  }
  Json to_json() const override { return {{"mean", mean_}, {"deviation", deviation_}}; }

 private:
  DType type_;
  std::size_t width_;
  double mean_;
  double deviation_;
  double factor_;
};

std::unique_ptr<Transform> fit(const Field& field, const Json&, const FieldSummary& summary) {
  const FieldStatistics& statistics = summary.numbers;
  // Rounding can leave a constant field with a tiny deviation: the range tells.
  const bool constant = statistics.minimum == statistics.maximum;
  const double deviation = constant ? 0 : std::sqrt(statistics.variance());
  return std::make_unique<Standardize>(field, statistics.mean, std::isnormal(deviation) ? deviation : 0);
}

std::unique_ptr<Transform> load(const Field& field, const Json&, const Json& json) {
  const std::string where = "transform 'standardize' of field '" + field.name + "'";
  const auto deviation = member<double>(json, "deviation", where);
  if (!(deviation >= 0)) throw Error(ErrorCode::kStorage, "'deviation' is negative", where);
  return std::make_unique<Standardize>(field, member<double>(json, "mean", where), deviation);
}

const bool kRegistered = transforms().add(
    "standardize",
    {.options = {}, .fit = fit, .load = load, .help = "(x - mean) / deviation of the training split"});

}  // namespace

}  // namespace muster
