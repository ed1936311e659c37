#pragma once
// Mixed precision: a forward pass in fewer bits, over weights that stay float32.

#include <memory>
#include <string>

#include "models/model.h"

namespace muster {

/// The model itself for "float32"; for "bfloat16" and "float16" one whose forward pass runs under LibTorch's
/// autocast: matrix products and convolutions, and so their gradients, in fewer bits; what follows them keeps
/// that type, but for what LibTorch knows to need more. Scores are float32 again; weights and the sums of
/// their gradients always were. `device`: where the model computes.
std::unique_ptr<Model> with_precision(std::unique_ptr<Model> model, const std::string& precision,
                                      const ComputeDevice& device = {});

}  // namespace muster
