// Any bytes as lines of JSON: each is a row of the contract, or one line that says why not.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "data_loader/ingest/json_row.h"
#include "data_loader/ingest/line_reader.h"
#include "data_loader/ingest/text_row.h"

namespace {

const muster::Contract& contract() {
  static const muster::Contract it = muster::Contract::parse(
      muster::YamlNode::parse("version: 1\n"
                              "fields:\n"
                              "  a: {dtype: float32, range: [0, 100], missing: impute}\n"
                              "  b: {dtype: int8, missing: indicator, missing_value: -1}\n"
                              "  c: {dtype: uint8, allowed: [0, 1]}\n"
                              "  d: {dtype: int64, role: time, transform: dates}\n"
                              "  e: {dtype: string, length: 4, missing: impute}\n"
                              "  f: {dtype: uint16, shape: [2, 2]}\n"
                              "  g: {dtype: float64, missing: drop}\n"
                              "splits: {by: fraction, train: 1}\n",
                              "contract.yaml"));
  return it;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::size_t at = 0;
  muster::LineReader lines([&](std::span<std::byte> out) {
    const std::size_t count = std::min({std::size_t{5}, out.size(), size - at});
    std::memcpy(out.data(), data + at, count);
    at += count;
    return count;
  });
  muster::TextRow row(contract().fields());
  while (const auto line = lines.next()) {
    const muster::Result<muster::Json> object = muster::parse_json_line(*line);
    const std::string wrong = object.ok() ? row.take(object.value()) : object.error().message();
    if (wrong.find('\n') != std::string::npos) std::abort();
    if (!object.ok() && wrong.empty()) std::abort();
    if (wrong.empty()) static_cast<void>(row.dropped_for());
  }
  return 0;
}
