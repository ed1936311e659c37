#include "models/model_batch.h"

#include <torch/torch.h>

#include <algorithm>

#include "core/error.h"
#include "core/text.h"

namespace muster {

struct BatchTensors::State {
  const Batch* batch = nullptr;
  std::vector<at::Tensor> on_host;  ///< in the batch's order
  std::vector<at::Tensor> tensors;  ///< the same where they are computed with
  at::Tensor weights;
};

BatchTensors::BatchTensors(const Batch& batch, const ComputeDevice& device) {
  const auto there = [&](const at::Tensor& tensor) {
    return device.gpu ? tensor.to(as_torch(device), /*non_blocking=*/true) : tensor;
  };
  // Torch has no tensors over const memory; models must not write into their inputs.
  const auto view = [&](const void* memory, std::vector<std::int64_t> sizes, at::ScalarType type) {
    sizes.insert(sizes.begin(), static_cast<std::int64_t>(batch.rows()));
    auto* const bytes = const_cast<void*>(memory);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
    return at::from_blob(bytes, sizes, type);
  };
  State state{&batch, {}, {}, there(view(batch.weights().data(), {}, at::kFloat))};
  for (std::size_t i = 0; i < batch.specs().size(); ++i) {
    const TensorSpec& spec = batch.specs()[i];
    const bool floats = spec.kind == TensorSpec::Kind::kFloat32;
    state.on_host.push_back(view(batch.data(i), spec.shape, floats ? at::kFloat : at::kLong));
    state.tensors.push_back(there(state.on_host.back()));
  }
  state_ = std::make_shared<const State>(std::move(state));
}

struct ModelBatch::State {
  std::shared_ptr<const BatchTensors::State> whole;
  std::size_t first = 0;
  std::int64_t rows = 0;
  bool training = false;
  std::uint64_t seed = 0;
  std::vector<std::uint32_t> positions;
  SumOverRanks sum;

  const Batch& batch() const { return *whole->batch; }
  at::Tensor part(const at::Tensor& of_whole) const {
    return of_whole.narrow(0, static_cast<std::int64_t>(first), rows);
  }
};

ModelBatch::ModelBatch(const BatchTensors& tensors, std::size_t first, std::size_t count, bool training,
                       std::uint64_t seed, SumOverRanks sum) {
  const Batch& batch = *tensors.state_->batch;
  ensure(first <= batch.rows() && count <= batch.rows() - first, "rows {} to {} of a batch of {}", first,
         first + count, batch.rows());
  const auto positions = batch.positions().subspan(first, count);
  state_ = std::make_unique<State>(State{tensors.state_,
                                         first,
                                         static_cast<std::int64_t>(count),
                                         training,
                                         seed,
                                         {positions.begin(), positions.end()},
                                         std::move(sum)});
}

ModelBatch::~ModelBatch() = default;
ModelBatch::ModelBatch(ModelBatch&&) noexcept = default;

std::int64_t ModelBatch::rows() const { return state_->rows; }
bool ModelBatch::training() const { return state_->training; }
std::uint64_t ModelBatch::seed() const { return state_->seed; }
std::uint64_t ModelBatch::step() const { return state_->batch().step; }
const std::vector<std::uint32_t>& ModelBatch::positions() const { return state_->positions; }

const SumOverRanks& ModelBatch::sum_over_ranks() const { return state_->sum; }

std::span<const std::uint8_t> ModelBatch::bad() const {
  return state_->batch().bad().subspan(state_->first, static_cast<std::size_t>(state_->rows));
}

std::vector<std::int64_t> ModelBatch::lane_rows() const {
  std::vector<std::int64_t> rows;
  const auto end = static_cast<std::int64_t>(state_->first) + state_->rows;
  std::int64_t lane_first = 0;
  for (const std::uint32_t of_lane : state_->batch().lanes()) {
    const std::int64_t lane_end = lane_first + of_lane;
    const std::int64_t here = std::min(end, lane_end) - std::max<std::int64_t>(state_->first, lane_first);
    if (here > 0) rows.push_back(here);
    lane_first = lane_end;
  }
  return rows;
}

std::size_t ModelBatch::index_of(std::string_view name) const {
  const Batch& batch = state_->batch();
  const int found = batch.find(name);
  if (found >= 0) return static_cast<std::size_t>(found);
  std::vector<std::string> names;
  for (const TensorSpec& spec : batch.specs()) names.push_back(spec.name);
  fail(ErrorCode::kConfig, "a batch has no tensor '{}'{}; it has: {}", name, did_you_mean(name, names),
       join(names, ", "));
}

at::Tensor ModelBatch::get(std::string_view name) const {
  return state_->part(state_->whole->tensors[index_of(name)]);
}

at::Tensor ModelBatch::label_on_host() const {
  return state_->part(state_->whole->on_host[index_of(kLabelTensor)]);
}

bool ModelBatch::has(std::string_view name) const { return state_->batch().find(name) >= 0; }

at::Tensor ModelBatch::label() const { return get(kLabelTensor); }

at::Tensor ModelBatch::weights() const { return state_->part(state_->whole->weights); }

}  // namespace muster
