// "normalize": each slice along the first extent (an image's channel) by its own mean and deviation.

#include <cmath>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

struct Moments {
  double mean = 0;
  double deviation = 0;  // 0 stands for a constant slice, which becomes 0
};

class Normalize : public Transform {
 public:
  Normalize(const Field& field, std::vector<Moments> slices)
      : type_(field.dtype), width_(field.values_per_row()), slices_(std::move(slices)) {}

  std::size_t width() const override { return width_; }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    const std::size_t part = width_ / slices_.size();
    visit(type_, [&]<typename T>(T*) {
      const auto* values = reinterpret_cast<const T*>(column.data());
      for (const RowTarget& target : targets) {
        const T* from = values + target.row_in_block * width_;
        float* to = target.floats() + offset;
        for (const auto& [mean, deviation] : slices_) {
          const double factor = deviation > 0 ? 1 / deviation : 0;
          for (std::size_t i = 0; i < part; ++i)
            *to++ = static_cast<float>((static_cast<double>(*from++) - mean) * factor);
        }
      }
    });
  }
  Json to_json() const override {
    Json means = Json::array();
    Json deviations = Json::array();
    for (const auto& [mean, deviation] : slices_) {
      means.push_back(mean);
      deviations.push_back(deviation);
    }
    return {{"means", std::move(means)}, {"deviations", std::move(deviations)}};
  }

 private:
  DType type_;
  std::size_t width_;
  std::vector<Moments> slices_;
};

std::unique_ptr<Transform> fit(const Field& field, const Json&, const FieldSummary& summary) {
  std::vector<Moments> slices;
  for (const FieldStatistics& group : summary.groups) {
    const double deviation = group.minimum == group.maximum ? 0 : std::sqrt(group.variance());
    slices.push_back({group.mean, std::isnormal(deviation) ? deviation : 0});
  }
  slices.resize(field.shape.front());  // nothing was there to fit to
  return std::make_unique<Normalize>(field, std::move(slices));
}

std::unique_ptr<Transform> load(const Field& field, const Json&, const Json& json) {
  const std::string where = "transform 'normalize' of field '" + field.name + "'";
  const auto means = member<std::vector<double>>(json, "means", where);
  const auto deviations = member<std::vector<double>>(json, "deviations", where);
  if (means.size() != field.shape.front() || deviations.size() != means.size())
    throw Error(ErrorCode::kStorage, "'means' and 'deviations' are not one per slice", where);
  std::vector<Moments> slices;
  for (std::size_t i = 0; i < means.size(); ++i) {
    if (!(deviations[i] >= 0)) throw Error(ErrorCode::kStorage, "a deviation is negative", where);
    slices.push_back({means[i], deviations[i]});
  }
  return std::make_unique<Normalize>(field, std::move(slices));
}

void check(const Field& field, const Json&) {
  if (field.shape.empty())
    fail(ErrorCode::kConfig, "'normalize' is for arrays: of one number per row use 'standardize'");
}

const bool kRegistered = transforms().add(
    "normalize",
    {.options = {},
     .fit = fit,
     .load = load,
     .needs = {.groups = true},
     .check = check,
     .help = "of arrays: each slice along the first extent (a channel) by its mean and deviation"});

}  // namespace

}  // namespace muster
