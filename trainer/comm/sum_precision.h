#pragma once

#include <string_view>

namespace muster {

/// How the terms and results of a sum travel between ranks that share no memory. Ranks' own sums are added in
/// float32, NCCL's in what they travel in.
enum class SumPrecision { kFloat32, kBfloat16 };

/// Of the names that train.sum_precision takes.
inline SumPrecision sum_precision(std::string_view name) {
  return name == "bfloat16" ? SumPrecision::kBfloat16 : SumPrecision::kFloat32;
}

}  // namespace muster
