#pragma once
// An exponential moving average of the weights (Polyak and Juditsky 1992; Tarvainen and Valpola 2017): what
// is evaluated, and what a checkpoint's model is, where a run keeps one.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/checkpoint/module_tensors.h"
#include "trainer/checkpoint/safetensors.h"

namespace muster {

/// Of a module's trainable parameters; buffers are as training left them. One thread.
class WeightAverage {
 public:
  /// Starts as the weights are. `decay` in (0, 1).
  WeightAverage(torch::nn::Module& module, double decay);
  ~WeightAverage();
  WeightAverage(const WeightAverage&) = delete;
  WeightAverage& operator=(const WeightAverage&) = delete;

  /// As if it was made now; keeps its memory.
  void restart();
  /// After the `step`-th update (from 1): average = d average + (1 − d) weights, where d is `decay`, or (1 +
  /// step) / (10 + step) as long as that is less: the first weights are soon forgotten.
  void update(std::uint64_t step);
  /// Exchanges the module's weights and the average, at no cost; twice is nothing.
  void exchange();

  /// What a checkpoint's model is: as module_tensors(), with averages in place of weights.
  NamedTensors averaged_tensors(torch::nn::Module& module) const;
  /// The weights that training goes on with, "<parameter>.trained"; they share memory.
  NamedTensors trained_tensors() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Takes the tensors of trained_tensors() out of an optimizer's state.
std::vector<TensorBlob> take_trained(std::vector<TensorBlob>& optimizer_state);
/// Sets a module that holds averages to the weights that training goes on with. Error{kStorage} for ones that
/// are not the module's.
void set_trained(torch::nn::Module& module, const std::vector<TensorBlob>& trained);

}  // namespace muster
