#pragma once
// One cell of text to one value of a field.

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/contract.h"

namespace muster {

/// How texts stand for the values of a field.
struct CellRules {
  std::vector<std::string> missing = {"", "NA", "N/A", "NaN", "nan", "NULL", "null"};
  std::map<std::string, double, std::less<>> values;  ///< texts that stand for numbers: {"yes": 1, "no": 0}
  char decimal = '.';
};

/// Writes the value that `text` (blanks around it do not count) stands for into `out`, size_of(field.dtype)
/// bytes. Float fields take a missing marker as NaN where the contract lets them; times also ISO dates and
/// times (UTC). Returns what is wrong, or "".
std::string parse_cell(const Field& field, const CellRules& rules, std::string_view text,
                       std::span<std::byte> out);

}  // namespace muster
