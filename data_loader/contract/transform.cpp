#include "data_loader/contract/transform.h"

#include <fmt/format.h>

namespace muster {

std::vector<std::string> Transform::names(const Field& field) const {
  if (width() == 1) return {field.name};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < width(); ++i) names.push_back(fmt::format("{}.{}", field.name, i));
  return names;
}

}  // namespace muster
