#pragma once
// Gradients as views into flat buckets, all-reduced while the backward pass still runs.

#include <cstdint>
#include <memory>
#include <vector>

#include "trainer/comm/communicator.h"
#include "trainer/gradients/bucket_plan.h"

namespace at {
class Tensor;
}
namespace torch::nn {
class Module;
}

namespace muster {

/// Bytes of each trainable parameter's gradient, tied ones once, in the order whose numbers a BucketPlan
/// holds. Error{kConfig} for a model without trainable parameters, or with ones that are not dense float32.
std::vector<std::uint64_t> gradient_bytes(torch::nn::Module& module);

/// The plan of a run's first step: reverse order of registration; tables of embeddings whose gradients are
/// sparse have buckets of their own.
BucketPlan initial_bucket_plan(torch::nn::Module& module, const BucketLimits& limits = {});

struct ReducerSettings {
  BucketLimits limits;  ///< of plans that the reducer makes
  SumPrecision precision = SumPrecision::kFloat32;
};

/// The table of an embedding (torch::nn::Embedding, EmbeddingBag) whose gradients are sparse is exchanged by
/// rows where it lies on a CPU, see RowSums; its gradient is there after finish().
///
/// After a step's backward passes every parameter's grad() lies, 64-byte aligned, in a bucket that is summed
/// (of one rank: is what autograd made); it is gone with this. One per model; one thread (autograd on CPU
/// calls the hooks on the thread of backward()). All ranks make the same calls in the same order.
class GradientReducer {
 public:
  /// Collective. Shares the module's parameters; `comm` outlives this.
  GradientReducer(torch::nn::Module& module, Communicator& comm, BucketPlan plan,
                  const ReducerSettings& settings = {});
  ~GradientReducer();

  /// Lets go of the last step's gradients. Call before the step's first micro-batch.
  void begin_step();
  /// See GradientPlaces: the parameter's part of its bucket, once a step, before its gradient is there;
  /// else, and of one rank, undefined.
  at::Tensor place(const at::Tensor& parameter);
  /// The next backward() is the step's last on this rank: a bucket whose gradients are all in starts its
  /// all-reduce at once, in plan order.
  void ready();
  /// Collective. Starts, in plan order, what did not start (unused parameters, a rank without rows). Between
  /// this and finish other collectives may be made: all ranks have then started the same ones.
  void start_rest();
  /// Collective. start_rest() if it was not called, waits for all sums, and divides them by `divisor`: the
  /// reduced weight over what losses were divided by before backward(). 1 costs nothing, 0 leaves zeros.
  void finish(double divisor);

  const BucketPlan& plan() const;
  /// Collective. If the plan is not observed and a rank saw a backward pass in this step: re-makes the plan
  /// from the order seen on the lowest such rank (parameters without a gradient last), the same on all ranks.
  /// The gradients are worth nothing then: call after finish and after the optimizer used them.
  void replan_once();
  /// The same order in buckets of other sizes. Collective where ranks do the same; as replan_once.
  void resize(const BucketLimits& limits);
  /// How often a table's rows were exchanged so far.
  std::uint64_t sums_by_rows() const;
  /// Seconds blocked in finish so far; of one rank 0.
  double wait_seconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
