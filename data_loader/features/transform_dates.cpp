// "dates": seconds since 1970 to parts of the UTC date and time, each as a point on its circle.

#include <chrono>
#include <cmath>
#include <numbers>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

constexpr double kDay = 86400;

/// Days since 1970 and the seconds of the day.
struct Moment {
  std::chrono::sys_days day;
  double second = 0;
};

Moment moment(double seconds) {
  const double days = std::floor(seconds / kDay);
  return {std::chrono::sys_days(std::chrono::days(static_cast<int>(days))), seconds - days * kDay};
}

/// The share of the part's circle that has passed, in [0, 1).
double turn(const std::string& part, const Moment& at) {
  using namespace std::chrono;
  const year_month_day date(at.day);
  if (part == "hour") return at.second / kDay;
  if (part == "weekday") return weekday(at.day).iso_encoding() / 7.0 - 1.0 / 7.0;
  const auto since = [&](const year_month_day& first) {
    return static_cast<double>((at.day - sys_days(first)).count());
  };
  if (part == "day") return since(date.year() / date.month() / 1) / 31.0;
  if (part == "month") return (static_cast<unsigned>(date.month()) - 1) / 12.0;
  return since(date.year() / January / 1) / 366.0;
}

class Dates : public Transform {
 public:
  explicit Dates(const Json& options) : parts_(options.at("parts").get<std::vector<std::string>>()) {}

  std::size_t width() const override { return 2 * parts_.size(); }
  std::vector<std::string> names(const Field& field) const override {
    std::vector<std::string> names;
    for (const std::string& part : parts_) {
      names.push_back(field.name + "." + part + ".sin");
      names.push_back(field.name + "." + part + ".cos");
    }
    return names;
  }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    const auto* values = reinterpret_cast<const double*>(column.data());
    for (const RowTarget& target : targets) {
      float* out = target.floats() + offset;
      const double seconds = values[target.row_in_block];
      const bool is_date = std::abs(seconds) < kDay * 366 * 30000;  // what a calendar of 16-bit years holds
      for (const std::string& part : parts_) {
        const double angle = is_date ? 2 * std::numbers::pi * turn(part, moment(seconds)) : std::nan("");
        *out++ = static_cast<float>(std::sin(angle));
        *out++ = static_cast<float>(std::cos(angle));
      }
    }
  }
  Json to_json() const override { return Json::object(); }

 private:
  std::vector<std::string> parts_;
};

void check(const Field& field, const Json& options) {
  if (!field.shape.empty()) fail(ErrorCode::kConfig, "'dates' is for one number per row, seconds since 1970");
  const auto parts = options.at("parts").get<std::vector<std::string>>();
  const std::vector<std::string> known = {"hour", "weekday", "day", "month", "yearday"};
  if (parts.empty()) fail(ErrorCode::kConfig, "'dates' needs parts; known: {}", join(known, ", "));
  for (const std::string& part : parts) {
    if (std::find(known.begin(), known.end(), part) == known.end())
      fail(ErrorCode::kConfig, "there is no part '{}'{}; known: {}", part, did_you_mean(part, known),
           join(known, ", "));
  }
}

const bool kRegistered = transforms().add(
    "dates",
    {.options = {{"parts",
                  OptionType::kTextList,
                  Json::array({"hour", "weekday", "yearday"}),
                  "of: hour, weekday, day (of the month), month, yearday",
                  {}}},
     .fit = [](const Field&, const Json& options,
               const FieldSummary&) { return std::make_unique<Dates>(options); },
     .load = [](const Field&, const Json& options, const Json&) { return std::make_unique<Dates>(options); },
     .reads = TransformFactory::Reads::kDoubles,
     .check = check,
     .help = "seconds since 1970 to parts of the UTC date, as sine and cosine"});

}  // namespace

}  // namespace muster
