#include "models/model_batch.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/text.h"

namespace muster {

namespace {

/// A tensor within a batch's memory.
struct View {
  std::ptrdiff_t offset = 0;
  std::vector<std::int64_t> sizes;
  at::ScalarType type = at::kFloat;
};

}  // namespace

struct BatchTensors::State {
  const Batch* batch = nullptr;
  std::uint64_t step = 0, edits = 0;  ///< of the batch, when they were made
  std::vector<at::Tensor> on_host;    ///< in the batch's order
  std::vector<at::Tensor> tensors;    ///< the same where they are computed with
  at::Tensor weights;
  at::Tensor on_gpu;                 ///< the batch's memory there, in one copy
  std::optional<c10::Event> copied;  ///< of a CopyStream

  State(const Batch& of, const ComputeDevice& device) : batch(&of), step(of.step), edits(of.edits) {
    const std::span<const std::byte> memory = of.memory();
    // Torch has no tensors over const memory; models must not write into their inputs.
    auto* const start =
        const_cast<std::byte*>(memory.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast)
    const auto view = [&](const void* values, std::vector<std::int64_t> sizes, at::ScalarType type) {
      sizes.insert(sizes.begin(), static_cast<std::int64_t>(of.rows()));
      const auto offset = static_cast<const std::byte*>(values) - start;
      return View{offset, std::move(sizes), type};
    };
    std::vector<View> views{view(of.weights().data(), {}, at::kFloat)};
    for (std::size_t i = 0; i < of.specs().size(); ++i) {
      const TensorSpec& spec = of.specs()[i];
      const bool floats = spec.kind == TensorSpec::Kind::kFloat32;
      views.push_back(view(of.data(i), spec.shape, floats ? at::kFloat : at::kLong));
      on_host.push_back(at::from_blob(start + views.back().offset, views.back().sizes, views.back().type));
    }
    if (!device.gpu) {
      tensors = on_host;
      weights = at::from_blob(start + views[0].offset, views[0].sizes, views[0].type);
      return;
    }
    const c10::Device there = as_torch(device);
    on_gpu = at::from_blob(start, {static_cast<std::int64_t>(memory.size())}, at::kByte)
                 .to(there, /*non_blocking=*/true);
    for (const View& part : views) {
      at::Tensor tensor = at::from_blob(
          static_cast<std::byte*>(on_gpu.data_ptr()) + part.offset, part.sizes, [held = on_gpu](void*) {},
          at::TensorOptions(part.type).device(there));
      if (&part == views.data()) {
        weights = std::move(tensor);
      } else {
        tensors.push_back(std::move(tensor));
      }
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!copied) return;
    try {
      copied->synchronize();           // the batch's memory is read until then
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the GPU's next use says it again
    }
  }
};

BatchTensors::BatchTensors(const Batch& batch, const ComputeDevice& device)
    : state_(std::make_shared<const State>(batch, device)) {}

bool BatchTensors::are_of(const Batch& batch) const {
  return state_->batch == &batch && state_->step == batch.step && state_->edits == batch.edits;
}

struct CopyStream::Stream {
  ComputeDevice device;
  c10::Stream stream;
};

CopyStream::CopyStream(const ComputeDevice& gpu)
    : stream_(std::make_unique<Stream>(Stream{
          gpu, c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStreamFromGlobalPool(as_torch(gpu))})) {}
CopyStream::~CopyStream() = default;

BatchTensors CopyStream::copy(const Batch& batch) {
  const c10::StreamGuard guard(stream_->stream);
  auto state = std::make_shared<BatchTensors::State>(batch, stream_->device);
  state->copied.emplace(c10::DeviceType::CUDA);
  state->copied->record(stream_->stream);
  BatchTensors tensors;
  tensors.state_ = std::move(state);
  return tensors;
}

void CopyStream::join(const BatchTensors& tensors) {
  const BatchTensors::State& state = *tensors.state_;
  if (!state.copied) return;
  const c10::Stream current =
      c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(state.weights.device());
  state.copied->block(current);
  // The memory is the copy stream's, and is used here now.
  state.on_gpu.record_stream(current);
}

struct ModelBatch::State {
  std::shared_ptr<const BatchTensors::State> whole;
  std::size_t first = 0;
  std::int64_t rows = 0;
  bool training = false;
  std::uint64_t seed = 0;
  std::vector<std::uint32_t> positions;
  SumOverRanks sum;
  GradientPlaces places;

  const Batch& batch() const { return *whole->batch; }
  at::Tensor part(const at::Tensor& of_whole) const {
    if (first == 0 && rows == of_whole.size(0)) return of_whole;
    return of_whole.narrow(0, static_cast<std::int64_t>(first), rows);
  }
};

ModelBatch::ModelBatch(const BatchTensors& tensors, std::size_t first, std::size_t count, bool training,
                       std::uint64_t seed, SumOverRanks sum, GradientPlaces places) {
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
                                         std::move(sum),
                                         std::move(places)});
}

ModelBatch::~ModelBatch() = default;
ModelBatch::ModelBatch(ModelBatch&&) noexcept = default;

std::int64_t ModelBatch::rows() const { return state_->rows; }
bool ModelBatch::training() const { return state_->training; }
std::uint64_t ModelBatch::seed() const { return state_->seed; }
std::uint64_t ModelBatch::step() const { return state_->batch().step; }
const std::vector<std::uint32_t>& ModelBatch::positions() const { return state_->positions; }

const SumOverRanks& ModelBatch::sum_over_ranks() const { return state_->sum; }
const GradientPlaces& ModelBatch::gradient_places() const { return state_->places; }

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
