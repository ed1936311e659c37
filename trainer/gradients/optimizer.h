#pragma once
// SGD and AdamW by LibTorch's fused kernels, with a state that checkpoints can hold.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "trainer/checkpoint/module_tensors.h"
#include "trainer/checkpoint/safetensors.h"

namespace muster {

/// AdamW's weight decay is decoupled (Loshchilov and Hutter 2019), SGD's is added to the gradient.
struct OptimizerSettings {
  std::string name = "adamw";  ///< "sgd" or "adamw"
  double learning_rate = 1e-3;
  double weight_decay = 0;
  std::string decay =
      "all";            ///< which parameters decay: "all", or "matrices", those of two dimensions or more
  double momentum = 0;  ///< sgd
  bool nesterov = false;
  double beta1 = 0.9;  ///< adamw
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// Of a module's trainable parameters, whose memory it shares. One thread.
class Optimizer {
 public:
  /// Error{kConfig} for an unknown name or a number out of range.
  Optimizer(torch::nn::Module& module, const OptimizerSettings& settings);
  ~Optimizer();

  /// Scales all gradients so that their global L2 norm is at most `max_norm` (0: never); returns the norm
  /// before. Gradients whose norm is not finite stay as they are.
  double clip(double max_norm);
  /// One update with this learning rate from the parameters' gradients.
  void step(double learning_rate);

  /// The state as named tensors that share its memory: "<parameter>.exp_avg", ".exp_avg_sq", ".step" (0-dim
  /// int64),
  /// ".momentum_buffer"; none for sgd without momentum.
  NamedTensors tensors() const;
  /// Whether a state has just the tensors of this one, in name and shape.
  bool fits(const std::vector<TensorBlob>& blobs) const;
  /// Takes a state of the same optimizer and model; Error{kStorage} names what is missing or has another
  /// shape.
  void load_state(const std::vector<TensorBlob>& blobs);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
