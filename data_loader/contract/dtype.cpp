#include "data_loader/contract/dtype.h"

#include <array>
#include <bit>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace muster {

// Values are hashed and kept as little-endian bytes without conversion.
static_assert(std::endian::native == std::endian::little, "Muster needs a little-endian machine");

namespace {

constexpr std::array<std::string_view, 11> kNames = {
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "string"};

}  // namespace

std::string_view to_string(DType type) { return kNames[static_cast<std::size_t>(type)]; }

DType parse_dtype(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<DType>(i);
  }
  const std::vector<std::string> known(kNames.begin(), kNames.end());
  fail(ErrorCode::kConfig, "there is no dtype '{}'{}; known: {}", name, did_you_mean(name, known),
       join(known, ", "));
}

void refuse_text() { fail(ErrorCode::kBug, "a text came where only numbers can be"); }

std::size_t size_of(DType type) {
  return visit(type, []<typename T>(T*) { return sizeof(T); });
}

}  // namespace muster
