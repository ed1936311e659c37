#pragma once
// Histograms of a module's tensors under LibTorch's names, tied ones once.

#include <vector>

#include "trainer/runlog/histogram.h"

namespace torch::nn {
class Module;
}

namespace muster {

/// "weights/NAME" of every parameter, trainable or not.
std::vector<NamedHistogram> weight_histograms(torch::nn::Module& module);
/// "gradients/NAME" of every trainable parameter that has a gradient.
std::vector<NamedHistogram> gradient_histograms(torch::nn::Module& module);

}  // namespace muster
