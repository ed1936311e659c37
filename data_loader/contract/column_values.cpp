#include "data_loader/contract/column_values.h"

#include <limits>

#include "core/error.h"
#include "data_loader/contract/transform.h"

namespace muster {

ColumnValues::ColumnValues(const Field& field) : field_(field) {
  for (const TransformStep& step : field.transform) {
    const TransformFactory& factory = transforms().get(step.name);
    if (factory.map) maps_.push_back(factory.map(step.options));
  }
}

double ColumnValues::map(double value) const {
  for (const auto& map : maps_) value = map(value);
  return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
}

void ColumnValues::read(std::span<const std::byte> column, std::span<const std::uint32_t> rows,
                        std::span<double> out) const {
  const std::size_t width = field_.values_per_row();
  ensure(out.size() == rows.size() * width, "{} values of {} rows of {}", out.size(), rows.size(), width);
  visit(field_.dtype, [&]<typename T>(T*) {
    const auto* values = reinterpret_cast<const T*>(column.data());
    std::size_t i = 0;
    for (const std::uint32_t row : rows) {
      for (std::size_t k = 0; k < width; ++k) {
        const T value = values[row * width + k];
        out[i++] = field_.is_missing(value) ? std::numeric_limits<double>::quiet_NaN()
                                            : map(static_cast<double>(value));
      }
    }
  });
}

}  // namespace muster
