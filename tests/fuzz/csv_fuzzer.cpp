// Any bytes as delimited text: the records that an automaton finds, whatever the pieces they come in; cells
// give a value or a line.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "data_loader/contract/time_format.h"
#include "data_loader/ingest/csv_cell.h"
#include "data_loader/ingest/csv_reader.h"
#include "data_loader/ingest/style_guess.h"
#include "tests/data_loader/csv_reference.h"

namespace {

std::vector<muster::testing::CsvSeen> read(std::span<const std::byte> bytes, std::size_t piece) {
  std::size_t at = 0;
  muster::CsvReader reader([&](std::span<std::byte> out) {
    const std::size_t count = std::min({piece, out.size(), bytes.size() - at});
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), count, out.begin());
    at += count;
    return count;
  });
  std::vector<muster::testing::CsvSeen> seen;
  while (reader.next()) {
    seen.push_back({reader.line(),
                    {reader.fields().begin(), reader.fields().end()},
                    reader.fault(),
                    reader.lost_the_rest()});
    if (reader.fault().empty() == reader.fields().empty()) std::abort();
  }
  return seen;
}

/// What people write: a number in a guessed style is one in that style, a time in a format that is left is
/// one.
void guess(const std::vector<muster::testing::CsvSeen>& records, char decimal) {
  muster::NumberStyleGuess style(decimal);
  muster::TimeFormatGuess format;
  for (const auto& record : records) {
    for (const std::string& cell : record.fields) {
      const auto plain = style.read(cell);
      if (plain.has_value() != muster::read_number(cell, style.style()).has_value()) std::abort();
      if (plain && muster::read_number(*plain, {}) != muster::read_number(cell, style.style())) std::abort();
      format.add(cell);
      for (const auto& candidate : format.candidates()) {
        if (!muster::read_time(cell, candidate.format)) std::abort();
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto whole = read(bytes, size + 1);
  if (read(bytes, 1) != whole) std::abort();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (muster::testing::CsvReference(text, {}).read() != whole) std::abort();
  for (const char decimal : {'.', ','}) guess(whole, decimal);
  for (int type = 0; type < 10; ++type) {
    muster::Field field;
    field.dtype = static_cast<muster::DType>(type);
    field.role = type % 2 == 0 ? muster::Role::kTime : muster::Role::kFeature;
    const muster::CellParser parser(field, {});
    for (const auto& record : whole) {
      for (const std::string& cell : record.fields) {
        std::array<std::byte, 8> value{};
        const bool taken = parser.parse(cell, value);
        if (!taken && parser.fault(cell).find('\n') != std::string::npos) std::abort();
      }
    }
  }
  return 0;
}
