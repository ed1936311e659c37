// "clip": values below `low` become `low`, those above `high` become `high`.

#include <algorithm>
#include <limits>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

double bound(const Json& options, const char* name, double otherwise) {
  const Json& value = options.at(name);
  return value.is_null() ? otherwise : value.get<double>();
}

std::function<double(double)> make(const Json& options) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  const double low = bound(options, "low", -kInfinite);
  const double high = bound(options, "high", kInfinite);
  return [low, high](double value) { return std::clamp(value, low, high); };
}

void check(const Field&, const Json& options) {
  const Json& low = options.at("low");
  const Json& high = options.at("high");
  if (low.is_null() && high.is_null()) fail(ErrorCode::kConfig, "clip needs `low`, `high` or both");
  if (!low.is_null() && !high.is_null() && low.get<double>() >= high.get<double>())
    fail(ErrorCode::kConfig, "clip needs `low` below `high`");
}

const bool kRegistered = transforms().add(
    "clip", {.options = {{"low", OptionType::kNumber, nullptr, "least value", {}},
                         {"high", OptionType::kNumber, nullptr, "greatest value", {}}},
             .map = make,
             .check = check,
             .help = "values beyond low and high become these; other transforms may follow"});

}  // namespace

}  // namespace muster
