// "none": the value as a float.

#include "data_loader/contract/transform.h"
#include "data_loader/features/map_values.h"

namespace muster {

namespace {

class None : public Transform {
 public:
  explicit None(const Field& field) : type_(field.dtype), width_(field.values_per_row()) {}

  std::size_t width() const override { return width_; }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    map_values(type_, width_, column, targets, offset, [](auto value) { return static_cast<float>(value); });
  }
  Json to_json() const override { return Json::object(); }

 private:
  DType type_;
  std::size_t width_;
};

const bool kRegistered = transforms().add(
    "none",
    {.options = {},
     .fit = [](const Field& field, const Json&,
               const FieldSummary&) { return std::make_unique<None>(field); },
     .load = [](const Field& field, const Json&, const Json&) { return std::make_unique<None>(field); },
     .help = "the value as a float"});

}  // namespace

}  // namespace muster
