#include "trainer/gradient_reducer.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include <cstring>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "trainer/bucket_sums.h"
#include "trainer/module_tensors.h"

namespace muster {

namespace {

struct Parameter {
  std::string name;
  at::Tensor tensor;
  at::Tensor gradient;  ///< view of its part of the buckets; of one rank what autograd made in this step
  bool placed = false;  ///< somebody was told in this step to write it into the buckets
  bool taken = false;   ///< `gradient` holds this step's so far
  bool in = false;      ///< this step's last backward pass is done with it
};

std::vector<Parameter> parameters_of(torch::nn::Module& module) {
  std::vector<Parameter> parameters;
  for (const auto& [name, tensor] : trainable_parameters(module)) {
    if (tensor.scalar_type() != at::kFloat || !tensor.is_non_overlapping_and_dense()) {
      fail(ErrorCode::kConfig, "the parameter '{}' is {}{}; trainable parameters must be dense float32", name,
           c10::toString(tensor.scalar_type()), tensor.is_non_overlapping_and_dense() ? "" : ", not dense");
    }
    parameters.push_back({name, tensor});
  }
  if (parameters.empty()) fail(ErrorCode::kConfig, "the model has no trainable parameters");
  return parameters;
}

void divide(const std::vector<at::Tensor>& gradients, double divisor) {
  const torch::NoGradGuard no_grad;
  if (divisor == 0) {
    at::_foreach_zero_(gradients);
  } else if (divisor != 1) {
    at::_foreach_div_(gradients, divisor);
  }
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

BucketPlan initial_bucket_plan(torch::nn::Module& module, const BucketLimits& limits) {
  const std::vector<std::uint64_t> bytes = gradient_bytes(module);
  return plan_buckets(bytes, reverse_order(bytes.size()), limits);
}

struct GradientReducer::State {
  Communicator* comm = nullptr;
  BucketLimits limits;
  BucketPlan plan;
  std::vector<Parameter> parameters;
  std::optional<BucketSums> sums;    ///< nothing of one rank: gradients stay where autograd puts them
  std::vector<std::uint32_t> order;  ///< in which this step's last backward pass finished the gradients
  std::unordered_map<const void*, std::uint32_t> numbers;  ///< by the parameter
  std::unordered_set<const void*> storages;                ///< of one rank: of this step's gradients
  double wait_seconds = 0;                                 ///< of buckets that were remade since
  bool armed = false;

  void make_buckets();
  at::Tensor part(std::uint32_t number);
  void take(std::uint32_t number);
  void gradient_is_in(std::uint32_t number);
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
  if (comm->size() == 1) return;
  for (Parameter& parameter : parameters) parameter.tensor.mutable_grad().reset();
  std::vector<std::size_t> floats;
  for (const Parameter& parameter : parameters)
    floats.push_back(static_cast<std::size_t>(parameter.tensor.numel()));
  if (sums) wait_seconds += sums->wait_seconds();
  sums.reset();  // before the next ones take as much
  sums.emplace(*comm, plan, floats);
  for (std::uint32_t number = 0; number < parameters.size(); ++number) {
    Parameter& parameter = parameters[number];
    // Autograd wants a gradient laid out like its parameter.
    parameter.gradient = part(number);
    parameter.tensor.mutable_grad() = parameter.gradient;
  }
}

at::Tensor GradientReducer::State::part(std::uint32_t number) {
  const at::Tensor& parameter = parameters[number].tensor;
  return at::from_blob(sums->part(number).data(), parameter.sizes(), parameter.strides(),
                       parameter.options().requires_grad(false));
}

/// Brings what autograd made to where it is summed. Autograd hands over a new tensor where there was no
/// gradient, and adds where there is one: so the first micro-batch's is copied once instead of zeroed and
/// added to.
void GradientReducer::State::take(std::uint32_t number) {
  Parameter& parameter = parameters[number];
  at::Tensor& gradient = parameter.tensor.mutable_grad();
  if (!gradient.is_same(parameter.gradient)) {
    if (parameter.taken)
      fail(ErrorCode::kBug,
           "the gradient of '{}' was replaced by another tensor; leave zeroing to the trainer",
           parameter.name);
    const torch::NoGradGuard no_grad;
    at::Tensor made = gradient.layout() == at::kStrided ? gradient : gradient.to_dense();
    if (sums) {
      if (made.data_ptr() != parameter.gradient.data_ptr()) parameter.gradient.copy_(made);
    } else {
      // Two parameters can be given views of one tensor: each divides and adds to its own.
      const bool is_shared = !storages.insert(made.storage().unsafeGetStorageImpl()).second;
      parameter.gradient = is_shared ? made.clone() : std::move(made);
    }
    gradient = parameter.gradient;
  }
  parameter.taken = true;
  if (sums) sums->written(number);
}

void GradientReducer::State::gradient_is_in(std::uint32_t number) {
  take(number);
  if (!armed) return;
  Parameter& parameter = parameters[number];
  if (parameter.in)
    fail(ErrorCode::kBug,
         "the gradient of '{}' was added to by a second backward pass of one micro-batch; sum the losses "
         "first",
         parameter.name);
  parameter.in = true;
  order.push_back(number);
  if (sums) sums->complete(number);
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
    state->numbers.emplace(state->parameters[i].tensor.unsafeGetTensorImpl(), i);
    auto hook = [state, i] { state->gradient_is_in(i); };
    torch::autograd::impl::set_post_acc_grad_hooks(state->parameters[i].tensor,
                                                   std::make_unique<GradientHook<decltype(hook)>>(hook));
  }
}

GradientReducer::~GradientReducer() {
  for (Parameter& parameter : state_->parameters) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter.tensor, nullptr);
    parameter.tensor.mutable_grad().reset();  // the buckets' memory goes
  }
}

void GradientReducer::begin_step() {
  state_->armed = false;
  state_->order.clear();
  state_->storages.clear();
  for (Parameter& parameter : state_->parameters) {
    parameter.placed = parameter.taken = parameter.in = false;
    parameter.tensor.mutable_grad().reset();
    if (!state_->sums) parameter.gradient.reset();
  }
  if (state_->sums) state_->sums->begin_step();
}

void GradientReducer::ready() { state_->armed = true; }

at::Tensor GradientReducer::place(const at::Tensor& parameter) {
  const auto found = state_->numbers.find(parameter.unsafeGetTensorImpl());
  if (!state_->sums || found == state_->numbers.end()) return {};
  Parameter& of = state_->parameters[found->second];
  if (of.placed || of.taken) return {};  // what is there is added to
  of.placed = true;
  return state_->part(found->second);
}

/// What the loss does not depend on gets its zeros.
void GradientReducer::start_rest() {
  state_->armed = false;
  for (Parameter& parameter : state_->parameters) {
    at::Tensor& gradient = parameter.tensor.mutable_grad();
    if (gradient.defined()) continue;
    if (parameter.taken)
      fail(ErrorCode::kBug, "the gradient of '{}' was taken away; leave zeroing to the trainer",
           parameter.name);
    if (!state_->sums) parameter.gradient = at::zeros_like(parameter.tensor);
    gradient = parameter.gradient;
  }
  if (state_->sums) state_->sums->start_rest();
}

void GradientReducer::finish(double divisor) {
  start_rest();
  if (state_->sums) state_->sums->finish();
  std::vector<at::Tensor> gradients;
  for (const Parameter& parameter : state_->parameters) gradients.push_back(parameter.gradient);
  divide(gradients, divisor);
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

void GradientReducer::resize(const BucketLimits& limits) {
  state_->limits = limits;
  std::vector<std::uint64_t> bytes;
  for (const Parameter& parameter : state_->parameters) bytes.push_back(parameter.tensor.nbytes());
  std::vector<std::uint32_t> order;
  for (const auto& bucket : state_->plan.buckets) order.insert(order.end(), bucket.begin(), bucket.end());
  const bool observed = state_->plan.observed;
  state_->plan = plan_buckets(bytes, order, limits);
  state_->plan.observed = observed;
  state_->make_buckets();
}

double GradientReducer::wait_seconds() const {
  return state_->wait_seconds + (state_->sums ? state_->sums->wait_seconds() : 0);
}

}  // namespace muster
