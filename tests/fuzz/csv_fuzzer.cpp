// Any bytes as delimited text: records with a place, none lost, whatever the pieces they come in; cells give
// a value or a line.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "data_loader/csv_cell.h"
#include "data_loader/csv_reader.h"

namespace {

std::vector<std::string> read(std::span<const std::byte> bytes, std::size_t piece) {
  std::size_t at = 0;
  muster::CsvReader reader([&](std::span<std::byte> out) {
    const std::size_t count = std::min({piece, out.size(), bytes.size() - at});
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), count, out.begin());
    at += count;
    return count;
  });
  std::vector<std::string> seen;
  std::uint64_t line = 0;
  while (reader.next()) {
    if (reader.line() <= line) std::abort();
    line = reader.line();
    if (reader.fault().empty() == reader.fields().empty()) std::abort();
    seen.push_back(reader.fault());
    for (const std::string_view field : reader.fields()) seen.emplace_back(field);
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::vector<std::string> whole = read(bytes, size + 1);
  if (read(bytes, 1) != whole) std::abort();
  for (int type = 0; type < 10; ++type) {
    muster::Field field;
    field.dtype = static_cast<muster::DType>(type);
    field.role = type % 2 == 0 ? muster::Role::kTime : muster::Role::kFeature;
    for (const std::string& text : whole) {
      std::array<std::byte, 8> value{};
      if (muster::parse_cell(field, {}, text, value).find('\n') != std::string::npos) std::abort();
    }
  }
  return 0;
}
