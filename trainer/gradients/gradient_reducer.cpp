#include "trainer/gradients/gradient_reducer.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "trainer/checkpoint/module_tensors.h"
#include "trainer/comm/gather.h"
#include "trainer/gradients/bucket_sums.h"
#include "trainer/gradients/row_sums.h"

namespace muster {

namespace {

struct Parameter {
  std::string name;
  at::Tensor tensor;
  at::Tensor gradient;     ///< view of its part of the buckets; of one rank what autograd made in this step
  bool is_sparse = false;  ///< its gradients are rows of a table
  std::optional<std::size_t> table;  ///< its number in RowSums, where it is exchanged by rows
  std::vector<at::Tensor> pieces;    ///< of the table's gradient, of each micro-batch
  bool placed = false;               ///< somebody was told in this step to write it into the buckets
  bool taken = false;                ///< `gradient` holds this step's so far
  bool in = false;                   ///< this step's last backward pass is done with it
};

/// Tables that autograd makes sparse gradients of.
std::unordered_set<const void*> sparse_tables(torch::nn::Module& module) {
  std::unordered_set<const void*> tables;
  const std::function<void(torch::nn::Module&)> look = [&](torch::nn::Module& part) {
    const auto* const embedding = part.as<torch::nn::Embedding>();
    const auto* const bag = part.as<torch::nn::EmbeddingBag>();
    if (embedding != nullptr && embedding->options.sparse())
      tables.insert(embedding->weight.unsafeGetTensorImpl());
    if (bag != nullptr && bag->options.sparse()) tables.insert(bag->weight.unsafeGetTensorImpl());
  };
  module.apply(look);
  return tables;
}

std::vector<Parameter> parameters_of(torch::nn::Module& module) {
  const std::unordered_set<const void*> sparse = sparse_tables(module);
  std::vector<Parameter> parameters;
  for (const auto& [name, tensor] : trainable_parameters(module)) {
    if (tensor.scalar_type() != at::kFloat || !tensor.is_non_overlapping_and_dense()) {
      fail(ErrorCode::kConfig, "the parameter '{}' is {}{}; trainable parameters must be dense float32", name,
           c10::toString(tensor.scalar_type()), tensor.is_non_overlapping_and_dense() ? "" : ", not dense");
    }
    parameters.push_back({name, tensor});
    parameters.back().is_sparse = tensor.dim() == 2 && tensor.is_contiguous() && tensor.is_cpu() &&
                                  sparse.contains(tensor.unsafeGetTensorImpl());
  }
  if (parameters.empty()) fail(ErrorCode::kConfig, "the model has no trainable parameters");
  return parameters;
}

std::vector<std::uint64_t> bytes_of(const std::vector<Parameter>& parameters) {
  std::vector<std::uint64_t> bytes;
  for (const Parameter& parameter : parameters) bytes.push_back(parameter.tensor.nbytes());
  return bytes;
}

BucketPlan plan_of(const std::vector<Parameter>& parameters, std::span<const std::uint32_t> order,
                   const BucketLimits& limits) {
  std::vector<std::uint32_t> alone;
  for (std::uint32_t number = 0; number < parameters.size(); ++number) {
    if (parameters[number].is_sparse) alone.push_back(number);
  }
  return plan_buckets(bytes_of(parameters), order, limits, alone);
}

/// The rows that the pieces, sparse tensors, have in them.
TableRows rows_of(const std::vector<at::Tensor>& pieces) {
  at::Tensor sum = pieces.front();
  for (std::size_t i = 1; i < pieces.size(); ++i) sum = sum + pieces[i];
  sum = sum.coalesce();
  const at::Tensor ids = sum.indices().select(0, 0).contiguous();
  const at::Tensor values = sum.values().contiguous();
  const std::span id_span(ids.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(ids.numel()));
  const std::span value_span(values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel()));
  return {{id_span.begin(), id_span.end()}, {value_span.begin(), value_span.end()}};
}

void divide(const std::vector<at::Tensor>& gradients, double divisor) {
  const torch::NoGradGuard no_grad;
  if (divisor == 0) {
    at::_foreach_zero_(gradients);
  } else if (divisor != 1) {
    at::_foreach_div_(gradients, divisor);
  }
}

}  // namespace

std::vector<std::uint64_t> gradient_bytes(torch::nn::Module& module) {
  return bytes_of(parameters_of(module));
}

BucketPlan initial_bucket_plan(torch::nn::Module& module, const BucketLimits& limits) {
  const std::vector<Parameter> parameters = parameters_of(module);
  return plan_of(parameters, reverse_order(parameters.size()), limits);
}

struct GradientReducer::State {
  Communicator* comm = nullptr;
  ReducerSettings settings;
  BucketPlan plan;
  std::vector<Parameter> parameters;
  std::optional<BucketSums> sums;    ///< nothing of one rank: gradients stay where autograd puts them
  std::optional<RowSums> rows;       ///< likewise
  std::uint64_t sums_by_rows = 0;    ///< of tables that were remade since
  std::vector<std::uint32_t> order;  ///< in which this step's last backward pass finished the gradients
  std::unordered_map<const void*, std::uint32_t> numbers;  ///< by the parameter
  std::unordered_set<const void*> storages;                ///< of one rank: of this step's gradients
  double wait_seconds = 0;  ///< of buckets that were remade since, and of all tables
  bool armed = false;

  void make_buckets();
  std::vector<RowSums::Table> choose_tables();
  void give_rows();
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
  if (rows) sums_by_rows += rows->by_rows();
  sums.reset();  // before the next ones take as much
  rows.reset();
  const std::vector<RowSums::Table> tables = choose_tables();
  BucketPlan whole = plan;
  std::erase_if(whole.buckets,
                [&](const auto& bucket) { return parameters[bucket.front()].table.has_value(); });
  sums.emplace(*comm, whole, floats, settings.precision);
  rows.emplace(*comm, tables, settings.precision);
  for (std::uint32_t number = 0; number < parameters.size(); ++number) {
    Parameter& parameter = parameters[number];
    if (parameter.table) {
      parameter.gradient = at::from_blob(rows->table(*parameter.table).data(), parameter.tensor.sizes(),
                                         parameter.tensor.options().requires_grad(false));
      continue;
    }
    // Autograd wants a gradient laid out like its parameter.
    parameter.gradient = part(number);
    parameter.tensor.mutable_grad() = parameter.gradient;
  }
}

/// A plan of an older run has such parameters in buckets with others: there they are summed whole.
std::vector<RowSums::Table> GradientReducer::State::choose_tables() {
  std::vector<RowSums::Table> tables;
  for (Parameter& parameter : parameters) parameter.table.reset();
  for (const auto& bucket : plan.buckets) {
    Parameter& parameter = parameters[bucket.front()];
    if (bucket.size() > 1 || !parameter.is_sparse) continue;
    parameter.table = tables.size();
    tables.push_back({parameter.name, static_cast<std::size_t>(parameter.tensor.size(0)),
                      static_cast<std::size_t>(parameter.tensor.size(1))});
  }
  return tables;
}

/// Collective. What the step's micro-batches made of the tables' gradients.
void GradientReducer::State::give_rows() {
  const torch::NoGradGuard no_grad;
  for (Parameter& parameter : parameters) {
    if (!parameter.table || parameter.pieces.empty()) continue;
    if (std::ranges::all_of(parameter.pieces, &at::Tensor::is_sparse)) {
      rows->give(*parameter.table, rows_of(parameter.pieces));
    } else {  // the model uses the table for something else, too
      parameter.gradient.zero_();
      for (const at::Tensor& piece : parameter.pieces) parameter.gradient.add_(piece);
      rows->give_all(*parameter.table);
    }
    parameter.pieces.clear();
  }
  const auto start = std::chrono::steady_clock::now();
  rows->finish();
  wait_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (Parameter& parameter : parameters) {
    if (parameter.table) parameter.tensor.mutable_grad() = parameter.gradient;
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
  if (parameter.table) {
    parameter.pieces.push_back(std::exchange(gradient, at::Tensor()));
    return;
  }
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
  if (sums && !parameter.table) sums->complete(number);
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
                                 const ReducerSettings& settings)
    : state_(std::make_unique<State>()) {
  State* state = state_.get();
  state->comm = &comm;
  state->settings = settings;
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
    parameter.pieces.clear();
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
  if (of.placed || of.taken || of.table) return {};  // what is there is added to
  of.placed = true;
  return state_->part(found->second);
}

/// What the loss does not depend on gets its zeros.
void GradientReducer::start_rest() {
  state_->armed = false;
  for (Parameter& parameter : state_->parameters) {
    at::Tensor& gradient = parameter.tensor.mutable_grad();
    if (gradient.defined() || parameter.table) continue;
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
  if (state_->rows) state_->give_rows();
  if (state_->sums) state_->sums->finish();
  std::vector<at::Tensor> gradients;
  for (const Parameter& parameter : state_->parameters) gradients.push_back(parameter.gradient);
  divide(gradients, divisor);
}

const BucketPlan& GradientReducer::plan() const { return state_->plan; }

void GradientReducer::replan_once() {
  if (state_->plan.observed) return;
  for (const auto& message :
       state_->comm->all_gather("gradient order", to_bytes<std::uint32_t>(state_->whole_order()))) {
    if (message.empty()) continue;
    std::vector<std::uint32_t> order;
    append_from_bytes(order, message);
    state_->plan = plan_of(state_->parameters, order, state_->settings.limits);
    state_->plan.observed = true;
    state_->make_buckets();
    return;
  }
}

void GradientReducer::resize(const BucketLimits& limits) {
  state_->settings.limits = limits;
  std::vector<std::uint32_t> order;
  for (const auto& bucket : state_->plan.buckets) order.insert(order.end(), bucket.begin(), bucket.end());
  const bool observed = state_->plan.observed;
  state_->plan = plan_of(state_->parameters, order, limits);
  state_->plan.observed = observed;
  state_->make_buckets();
}

std::uint64_t GradientReducer::sums_by_rows() const {
  return state_->sums_by_rows + (state_->rows ? state_->rows->by_rows() : 0);
}

double GradientReducer::wait_seconds() const {
  return state_->wait_seconds + (state_->sums ? state_->sums->wait_seconds() : 0);
}

}  // namespace muster
