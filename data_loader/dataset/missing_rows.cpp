#include "data_loader/dataset/missing_rows.h"

#include "data_loader/contract/field_summary.h"

namespace muster {

std::vector<bool> missing_rows(const Field& field, std::span<const std::byte> column, std::size_t rows) {
  std::vector<bool> missing(rows, false);
  if (field.is_text()) {
    for (std::size_t row = 0; row < rows; ++row) missing[row] = text_at(field, column, row).empty();
    return missing;
  }
  visit(field.dtype, [&]<typename T>(T*) {
    const auto* values = reinterpret_cast<const T*>(column.data());
    for (std::size_t row = 0; row < rows; ++row) missing[row] = field.is_missing(values[row]);
  });
  return missing;
}

}  // namespace muster
