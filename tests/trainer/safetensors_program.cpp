// Writes and reads safetensors files for safetensors_python_test.py.
#include <cstdio>
#include <string_view>

#include "core/hash.h"
#include "trainer/checkpoint/safetensors.h"

namespace {

/// Bytes 0, 1, 2, … of each type, in an order of widths that would misalign them if kept.
std::vector<muster::TensorBlob> sample() {
  std::vector<muster::TensorBlob> tensors{{"flags", "BOOL", {3}, {}},    {"layer.weight", "F32", {2, 3}, {}},
                                          {"step", "I64", {}, {}},       {"bytes", "U8", {5}, {}},
                                          {"double", "F64", {1, 2}, {}}, {"half", "F16", {3}, {}},
                                          {"int", "I32", {2}, {}},       {"empty", "F32", {0, 4}, {}}};
  const std::size_t sizes[] = {3, 24, 8, 5, 16, 6, 8, 0};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    for (std::size_t k = 0; k < sizes[i]; ++k) {
      tensors[i].data.push_back(static_cast<std::byte>(tensors[i].dtype == "BOOL" ? k % 2 : k));
    }
  }
  return tensors;
}

void list(const std::vector<muster::TensorBlob>& tensors) {
  for (const muster::TensorBlob& tensor : tensors) {
    std::string shape;
    for (const std::int64_t dimension : tensor.shape) shape += std::to_string(dimension) + ",";
    std::printf("%s %s [%s] %s\n", tensor.name.c_str(), tensor.dtype.c_str(), shape.c_str(),
                muster::sha256(tensor.data).hex().c_str());
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return 64;
  const auto files = muster::make_posix_file_system();
  if (std::string_view(argv[1]) == "write") {
    muster::write_safetensors(*files->create(argv[2]), sample(), {{"format", "pt"}});
    list(sample());
  } else {
    list(muster::parse_safetensors(files->read(argv[2]), argv[2]));
  }
  return 0;
} catch (const muster::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return error.exit_code();
}
