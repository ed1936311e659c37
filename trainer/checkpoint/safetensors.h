#pragma once
// The safetensors file format: 8-byte little-endian header length, JSON header, tensor bytes
// (https://github.com/huggingface/safetensors, format description). Python's `safetensors` opens what we
// write.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/file_system.h"

namespace muster {

/// A tensor as plain bytes.
struct TensorBlob {
  std::string name;
  std::string dtype;  ///< "F32", "F64", "I64", "I32", "U8", "BOOL", "F16", "BF16"
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;  ///< little-endian, row-major
  bool operator==(const TensorBlob&) const = default;
};

/// The file's bytes are appended to `file`; data starts 64-byte aligned. Tensors are laid out by element
/// size, widest first, else as given: each lies at a multiple of its element's size. Error{kBug} for a tensor
/// whose bytes do not fit its shape.
void write_safetensors(WritableFile& file, std::span<const TensorBlob> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Parses a whole file. Error{kStorage} with `where` for anything malformed: header length, JSON, overlapping
/// or missing ranges, sizes that do not fit shape × type, names given twice. Tensors come in the order of
/// their bytes.
std::vector<TensorBlob> parse_safetensors(std::span<const std::byte> bytes, const std::string& where);

}  // namespace muster
