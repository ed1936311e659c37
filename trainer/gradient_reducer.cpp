#include "trainer/gradient_reducer.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include <cstring>

#include "core/error.h"
#include "trainer/module_tensors.h"

namespace muster {

namespace {

constexpr std::int64_t kAlignment = 64 / sizeof(float);  ///< in values

std::int64_t aligned(std::int64_t values) { return (values + kAlignment - 1) / kAlignment * kAlignment; }

struct Parameter {
  std::string name;
  at::Tensor tensor;
  at::Tensor gradient;  ///< view into its bucket
  std::size_t bucket = 0;
  bool in = false;  ///< this step's last backward pass is done with it
};

struct Bucket {
  std::string name;
  at::Tensor values;
  std::size_t missing = 0;  ///< parameters whose gradients are not in yet
  std::unique_ptr<PendingReduce> reduce;
};

std::vector<Parameter> parameters_of(torch::nn::Module& module) {
  std::vector<Parameter> parameters;
  for (const auto& [name, tensor] : trainable_parameters(module)) {
    if (tensor.scalar_type() != at::kFloat || !tensor.is_non_overlapping_and_dense()) {
      fail(ErrorCode::kConfig, "the parameter '{}' is {}{}; trainable parameters must be dense float32", name,
           c10::toString(tensor.scalar_type()), tensor.is_non_overlapping_and_dense() ? "" : ", not dense");
    }
    parameters.push_back({name, tensor, {}, 0, false});
  }
  if (parameters.empty()) fail(ErrorCode::kConfig, "the model has no trainable parameters");
  return parameters;
}

std::vector<std::byte> as_message(const std::vector<std::uint32_t>& order) {
  const auto bytes = std::as_bytes(std::span(order));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::uint32_t> from_message(const std::vector<std::byte>& message) {
  std::vector<std::uint32_t> order(message.size() / sizeof(std::uint32_t));
  std::memcpy(order.data(), message.data(), order.size() * sizeof(std::uint32_t));
  return order;
}

}  // namespace

std::vector<std::uint64_t> gradient_bytes(torch::nn::Module& module) {
  std::vector<std::uint64_t> bytes;
  for (const Parameter& parameter : parameters_of(module)) bytes.push_back(parameter.tensor.nbytes());
  return bytes;
}

BucketPlan initial_bucket_plan(torch::nn::Module& module) {
  const std::vector<std::uint64_t> bytes = gradient_bytes(module);
  return plan_buckets(bytes, reverse_order(bytes.size()));
}

struct GradientReducer::State {
  Communicator* comm = nullptr;
  BucketLimits limits;
  BucketPlan plan;
  std::vector<Parameter> parameters;
  std::vector<Bucket> buckets;
  std::vector<std::uint32_t> order;  ///< in which this step's last backward pass finished the gradients
  std::size_t next = 0;              ///< first bucket that has not started
  bool armed = false;
  double wait_seconds = 0;

  void make_buckets();
  void attach_gradients();
  void gradient_is_in(std::uint32_t number);
  void start_next_bucket();
  void start_complete_buckets();
  std::vector<std::uint32_t> whole_order() const;
};

namespace {

/// Called by autograd after it added to a parameter's gradient, once per backward pass.
template <typename OnGradient>
class GradientHook : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit GradientHook(OnGradient on_gradient) : on_gradient_(std::move(on_gradient)) {}
  void operator()(const torch::autograd::Variable&) override { on_gradient_(); }

 private:
  OnGradient on_gradient_;
};

}  // namespace

void GradientReducer::State::make_buckets() {
  const torch::NoGradGuard no_grad;
  buckets.clear();
  for (std::size_t b = 0; b < plan.buckets.size(); ++b) {
    std::int64_t size = 0;
    for (const std::uint32_t number : plan.buckets[b]) size += aligned(parameters[number].tensor.numel());
    Bucket& bucket = buckets.emplace_back();
    bucket.name = fmt::format("gradient bucket {} of {}", b + 1, plan.buckets.size());
    bucket.values = at::zeros({size}, at::kFloat);
    std::int64_t offset = 0;
    for (const std::uint32_t number : plan.buckets[b]) {
      Parameter& parameter = parameters[number];
      parameter.bucket = b;
      // Autograd wants a gradient laid out like its parameter.
      parameter.gradient =
          bucket.values.as_strided(parameter.tensor.sizes(), parameter.tensor.strides(), offset);
      offset += aligned(parameter.tensor.numel());
    }
  }
  attach_gradients();
}

void GradientReducer::State::attach_gradients() {
  for (Parameter& parameter : parameters) parameter.tensor.mutable_grad() = parameter.gradient;
}

void GradientReducer::State::start_next_bucket() {
  Bucket& bucket = buckets[next++];
  const std::span<float> values(bucket.values.data_ptr<float>(),
                                static_cast<std::size_t>(bucket.values.numel()));
  bucket.reduce = comm->start_all_reduce_sum(bucket.name, values);
}

void GradientReducer::State::start_complete_buckets() {
  while (next < buckets.size() && buckets[next].missing == 0) start_next_bucket();
}

void GradientReducer::State::gradient_is_in(std::uint32_t number) {
  if (!armed) return;
  Parameter& parameter = parameters[number];
  if (parameter.in || parameter.tensor.grad().data_ptr() != parameter.gradient.data_ptr()) {
    fail(ErrorCode::kBug, "the gradient of '{}' was {}", parameter.name,
         parameter.in ? "added to by a second backward pass of one micro-batch; sum the losses first"
                      : "replaced by another tensor; leave zeroing to the trainer");
  }
  parameter.in = true;
  order.push_back(number);
  --buckets[parameter.bucket].missing;
  start_complete_buckets();
}

std::vector<std::uint32_t> GradientReducer::State::whole_order() const {
  if (order.empty()) return {};
  std::vector<std::uint32_t> whole = order;
  for (const auto& bucket : plan.buckets) {  // what the loss does not depend on goes last
    for (const std::uint32_t number : bucket) {
      if (!parameters[number].in) whole.push_back(number);
    }
  }
  return whole;
}

GradientReducer::GradientReducer(torch::nn::Module& module, Communicator& comm, BucketPlan plan,
                                 const BucketLimits& limits)
    : state_(std::make_unique<State>()) {
  State* state = state_.get();
  state->comm = &comm;
  state->limits = limits;
  state->plan = std::move(plan);
  state->parameters = parameters_of(module);
  std::size_t planned = 0;
  for (const auto& bucket : state->plan.buckets) planned += bucket.size();
  ensure(planned == state->parameters.size(), "the bucket plan is for {} parameters, the model has {}",
         planned, state->parameters.size());
  state->make_buckets();
  for (std::uint32_t i = 0; i < state->parameters.size(); ++i) {
    auto hook = [state, i] { state->gradient_is_in(i); };
    torch::autograd::impl::set_post_acc_grad_hooks(state->parameters[i].tensor,
                                                   std::make_unique<GradientHook<decltype(hook)>>(hook));
  }
}

GradientReducer::~GradientReducer() {
  for (const Parameter& parameter : state_->parameters) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter.tensor, nullptr);
  }
}

void GradientReducer::begin_step() {
  state_->armed = false;
  state_->next = 0;
  state_->order.clear();
  for (Parameter& parameter : state_->parameters) parameter.in = false;
  for (std::size_t b = 0; b < state_->buckets.size(); ++b) {
    state_->buckets[b].missing = state_->plan.buckets[b].size();
    state_->buckets[b].values.zero_();
  }
  state_->attach_gradients();
}

void GradientReducer::ready() { state_->armed = true; }

void GradientReducer::start_rest() {
  state_->armed = false;
  while (state_->next < state_->buckets.size()) state_->start_next_bucket();
}

void GradientReducer::finish(double weight_sum) {
  start_rest();
  for (Bucket& bucket : state_->buckets) {
    const auto start = std::chrono::steady_clock::now();
    bucket.reduce->wait();
    bucket.reduce.reset();
    state_->wait_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (weight_sum == 0) {
      bucket.values.zero_();
    } else {
      bucket.values.div_(weight_sum);
    }
  }
}

const BucketPlan& GradientReducer::plan() const { return state_->plan; }

void GradientReducer::replan_once() {
  if (state_->plan.observed) return;
  for (const auto& message : state_->comm->all_gather("gradient order", as_message(state_->whole_order()))) {
    if (message.empty()) continue;
    std::vector<std::uint64_t> bytes;
    for (const Parameter& parameter : state_->parameters) bytes.push_back(parameter.tensor.nbytes());
    state_->plan = plan_buckets(bytes, from_message(message), state_->limits);
    state_->plan.observed = true;
    state_->make_buckets();
    return;
  }
}

double GradientReducer::wait_seconds() const { return state_->wait_seconds; }

}  // namespace muster
