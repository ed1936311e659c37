// Any bytes: parsed, or refused by an Error that says where. What was parsed survives writing and reading
// again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "core/error.h"
#include "trainer/checkpoint/safetensors.h"

namespace {

class MemoryFile : public muster::WritableFile {
 public:
  void append(std::span<const std::byte> bytes) override {
    content.insert(content.end(), bytes.begin(), bytes.end());
  }
  void sync() override {}
  std::vector<std::byte> content;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<muster::TensorBlob> tensors;
  try {
    tensors = muster::parse_safetensors(std::as_bytes(std::span(data, size)), "input.safetensors");
  } catch (const muster::Error& error) {
    if (error.code() != muster::ErrorCode::kStorage || error.where().empty()) std::abort();
    return 0;
  }
  MemoryFile file;
  muster::write_safetensors(file, tensors);
  auto again = muster::parse_safetensors(file.content, "again.safetensors");
  const auto by_name = [](const auto& a, const auto& b) { return a.name < b.name; };
  std::sort(tensors.begin(), tensors.end(), by_name);
  std::sort(again.begin(), again.end(), by_name);
  if (again != tensors) std::abort();
  return 0;
}
