#pragma once
// Contracts from YAML lines and columns of random values, for tests of what reads them.

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/random.h"
#include "data_loader/contract/contract.h"

namespace muster::testing {

/// A contract with these lines under `fields:`.
inline Contract contract_of(const std::string& fields, const std::string& more = "") {
  const std::string text =
      "version: 1\nfields:\n" + fields + more + "splits: {by: fraction, train: 0.8, test: 0.2}\n";
  return Contract::parse(YamlNode::parse(text, "contract.yaml"));
}

template <typename T>
std::vector<std::byte> column_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Values that every role allows: small integers of the type, or normal floats, some of them missing where
/// the field allows it.
inline std::vector<std::byte> random_column(const Field& field, std::size_t rows, RandomStream& random) {
  return visit(field.dtype, [&]<typename T>(T*) {
    std::vector<T> values(rows * field.values_per_row());
    for (T& value : values) {
      if constexpr (std::is_floating_point_v<T>) {
        value = static_cast<T>(field.role == Role::kWeight ? random.uniform() : 3 + 2 * random.normal());
        if (field.missing == Missing::kIndicator && random.below(4) == 0)
          value = std::numeric_limits<T>::quiet_NaN();
      } else {
        value = static_cast<T>(random.below(128));
      }
    }
    return column_of(values);
  });
}

/// The value as a double.
inline double value_at(const Field& field, const std::vector<std::byte>& column, std::size_t index) {
  return visit(field.dtype, [&]<typename T>(T*) {
    T value;
    std::memcpy(&value, column.data() + index * sizeof(T), sizeof(T));
    return static_cast<double>(value);
  });
}

}  // namespace muster::testing
