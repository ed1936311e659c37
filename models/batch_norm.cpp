#include "models/batch_norm.h"

#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "models/gpu_operators.h"

namespace muster {
namespace {

constexpr double kMomentum = 0.1;
constexpr double kEpsilon = 1e-5;

/// All dimensions but the channels'.
std::vector<std::int64_t> reduced(const at::Tensor& x) {
  std::vector<std::int64_t> dims{0};
  for (std::int64_t i = 2; i < x.dim(); ++i) dims.push_back(i);
  return dims;
}

/// float32 [channels], to be multiplied with x.
at::Tensor along(const at::Tensor& per_channel, const at::Tensor& x) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
  sizes[1] = per_channel.size(0);
  return per_channel.view(sizes);
}

std::int64_t values_per_channel(const at::Tensor& x) { return x.size(1) == 0 ? 0 : x.numel() / x.size(1); }

/// x without the rows that are passed over; x itself where there are none.
at::Tensor good_rows(const at::Tensor& x, std::span<const std::uint8_t> bad) {
  std::vector<std::int64_t> good;
  for (std::size_t row = 0; row < bad.size(); ++row) {
    if (bad[row] == 0) good.push_back(static_cast<std::int64_t>(row));
  }
  if (good.size() == bad.size()) return x;
  return x.index_select(0, at::tensor(good, at::kLong).to(x.device()));
}

/// Mean and variance of the global batch, float64 [channels] each, and over how many values.
struct GlobalStatistics {
  at::Tensor mean;
  at::Tensor variance;  ///< biased
  double values = 0;
};

void sum_in_place(const at::Tensor& doubles, const SumOverRanks& sum) {
  if (sum) sum({doubles.data_ptr<double>(), static_cast<std::size_t>(doubles.numel())});
}

/// Each rank's own mean and variance are exact to float32; they are put together in float64.
GlobalStatistics global_statistics(const at::Tensor& good, const SumOverRanks& sum) {
  const torch::NoGradGuard no_grad;
  const std::int64_t channels = good.size(1);
  const auto mine = static_cast<double>(values_per_channel(good));
  at::Tensor sums = at::zeros({2 * channels + 1}, at::kDouble);
  if (mine > 0) {
    const auto [variance, mean] = at::var_mean(good.to(at::kFloat), reduced(good), /*unbiased=*/false);
    const at::Tensor center = mean.to(at::kCPU, at::kDouble);
    sums.narrow(0, 0, channels).copy_(center * mine);
    sums.narrow(0, channels, channels).copy_((variance.to(at::kCPU, at::kDouble) + center.square()) * mine);
    sums.narrow(0, 2 * channels, 1).fill_(mine);
  }
  sum_in_place(sums, sum);
  GlobalStatistics all;
  all.values = sums[2 * channels].item<double>();
  const double divisor = std::max(1.0, all.values);
  all.mean = sums.narrow(0, 0, channels) / divisor;
  all.variance = (sums.narrow(0, channels, channels) / divisor - all.mean.square()).clamp_min(0);
  return all;
}

/// (x − mean) / √(variance + ε), where mean and variance are functions of the good rows of all ranks.
/// Backward (Ioffe and Szegedy 2015, section 3): dx = (dy − Σdy / n − x̂ Σ(dy x̂) / n) / √(variance + ε), the
/// sums over all ranks.
class NormalizeOverRanks : public torch::autograd::Function<NormalizeOverRanks> {
 public:
  // NOLINTBEGIN: the signatures are autograd's.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const std::optional<at::Tensor>& good, const GlobalStatistics& all,
                            const SumOverRanks& sum) {
    const at::Tensor inverse = (all.variance + kEpsilon).rsqrt().to(x.device(), at::kFloat);
    const at::Tensor normal = (x - along(all.mean.to(x.device(), at::kFloat), x)) * along(inverse, x);
    context->save_for_backward({normal, inverse, good.value_or(at::Tensor())});
    context->saved_data["values"] = all.values;
    context->saved_data["sum"] = at::IValue::make_capsule(c10::make_intrusive<Held>(sum));
    return normal;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &normal = saved[0], &inverse = saved[1], &good = saved[2], &dy = gradients[0];
    const std::int64_t channels = normal.size(1);
    at::Tensor sums = at::zeros({2, channels}, at::kDouble);
    if (normal.numel() > 0) {
      sums[0].copy_(dy.sum(reduced(dy), false, at::kFloat));
      sums[1].copy_((dy * normal).sum(reduced(dy), false, at::kFloat));
    }
    sum_in_place(sums, c10::static_intrusive_pointer_cast<Held>(context->saved_data["sum"].toCapsule())->sum);
    sums /= context->saved_data["values"].toDouble();
    const at::Tensor means = sums.to(normal.device(), at::kFloat);
    at::Tensor common = along(means[0], dy) + normal * along(means[1], dy);
    if (good.defined()) common = common * good;  // the means are no functions of other rows
    return {(dy - common) * along(inverse, dy), {}, {}, {}};
  }
  // NOLINTEND

 private:
  struct Held : torch::CustomClassHolder {
    explicit Held(SumOverRanks function) : sum(std::move(function)) {}
    SumOverRanks sum;
  };
};

}  // namespace

at::Tensor applied(const AfterNorm& after, at::Tensor normal) {
  if (after.other != nullptr) normal = normal + *after.other;
  return after.relu ? at::relu(normal) : normal;
}

class BatchNormModule : public torch::nn::Module {
 public:
  BatchNormModule(std::int64_t channels, BatchNormOver over) : over_(over) {
    weight_ = register_parameter("weight", at::ones({channels}));
    bias_ = register_parameter("bias", at::zeros({channels}));
    mean_ = register_buffer("running_mean", at::zeros({channels}));
    variance_ = register_buffer("running_var", at::ones({channels}));
    batches_ = register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
    clear();
  }

  BatchNormOver over() const { return over_; }
  std::size_t sum_count() const { return 2 * static_cast<std::size_t>(mean_.numel()) + 2; }

  at::Tensor forward(const at::Tensor& x, const ModelBatch& batch, const AfterNorm& after) {
    if (!is_training() || !batch.training()) return applied(after, by_running_statistics(x));
    return over_ == BatchNormOver::kLane ? by_lanes(x, batch, after)
                                         : applied(after, by_global_batch(x, batch));
  }

  void clear() {
    lanes_.clear();
    sums_.assign(2 * static_cast<std::size_t>(mean_.numel()), 0.0);
    values_ = without_own_ = 0;
  }

  /// Means and inverse deviations of the lanes so far, float32, where they were computed.
  void append_lanes(std::vector<at::Tensor>& all) const {
    for (const Lane& lane : lanes_)
      all.insert(all.end(), {lane.mean.to(at::kFloat), lane.inverse.to(at::kFloat)});
  }

  /// Sums of means and of variances, their weight, and how often there were none. `lanes`: what append_lanes
  /// gave, and what follows; moved past it.
  void take_into(std::span<double> sums, std::span<const float>& lanes) {
    const std::size_t channels = sums_.size() / 2;
    for (const Lane& lane : lanes_) {
      ensure(lanes.size() >= 2 * channels, "a batch norm ran after the step's last forward pass");
      for (std::size_t channel = 0; channel < channels; ++channel) {
        const double inverse = lanes[channels + channel];
        note(channel, lanes[channel], 1 / (inverse * inverse) - kEpsilon, lane.values);
      }
      values_ += lane.values;
      lanes = lanes.subspan(2 * channels);
    }
    std::ranges::copy(sums_, sums.begin());
    sums[sums.size() - 2] = values_;
    sums.back() = without_own_;
    clear();
  }

  const at::Tensor& running_mean() const { return mean_; }
  const at::Tensor& running_variance() const { return variance_; }
  const at::Tensor& batches() const { return batches_; }

 private:
  at::Tensor by_running_statistics(const at::Tensor& x) {
    return at::batch_norm(x, weight_, bias_, mean_, variance_, /*training=*/false, kMomentum, kEpsilon,
                          /*cudnn_enabled=*/true);
  }

  at::Tensor by_lanes(const at::Tensor& x, const ModelBatch& batch, const AfterNorm& after) {
    const std::vector<std::int64_t> rows = batch.lane_rows();
    const std::int64_t all = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
    ensure(all == x.size(0), "a batch norm of {} rows in a batch of {}", x.size(0), all);
    if (rows.empty()) return applied(after, by_running_statistics(x));  // no rows
    if (rows.size() == 1) return by_one_lane(x, batch.bad(), after);
    std::vector<at::Tensor> lanes = x.split_with_sizes(rows);  // whose gradients are put together in one pass
    std::size_t first = 0;
    for (at::Tensor& lane : lanes) {
      const auto size = static_cast<std::size_t>(lane.size(0));
      lane = by_one_lane(lane, batch.bad().subspan(first, size), {});
      first += size;
    }
    return applied(after, at::cat(lanes));
  }

  at::Tensor by_one_lane(const at::Tensor& x, std::span<const std::uint8_t> bad, const AfterNorm& after) {
    const at::Tensor good = good_rows(x, bad);
    const auto values = static_cast<double>(values_per_channel(good));
    if (values < 2) {
      ++without_own_;
      return applied(after, by_running_statistics(x));
    }
    if (good.size(0) == x.size(0) && has_gpu_batch_norm(x, after.other)) {
      auto [result, mean, inverse] = gpu_batch_norm(x, after.other, weight_, bias_, after.relu, kEpsilon);
      lanes_.push_back({mean, inverse, values});
      return result;
    }
    if (good.size(0) == x.size(0)) {
      auto [normal, mean, inverse, reserve, way] =
          at::_batch_norm_impl_index(x, weight_, bias_, {}, {}, /*training=*/true, kMomentum, kEpsilon,
                                     /*cudnn_enabled=*/true);
      lanes_.push_back({mean, inverse, values});
      return applied(after, normal);
    }
    const auto [variance, mean] = at::var_mean(good.to(at::kFloat), reduced(x), /*unbiased=*/false);
    const at::Tensor inverse = (variance + kEpsilon).rsqrt();
    lanes_.push_back({mean.detach(), inverse.detach(), values});
    return applied(after, scaled((x.to(at::kFloat) - along(mean, x)) * along(inverse, x), x));
  }

  /// In the type of x, from float32, which all is computed in: autocast gives x in fewer bits.
  at::Tensor scaled(const at::Tensor& normal, const at::Tensor& x) {
    return (normal * along(weight_, x) + along(bias_, x)).to(x.scalar_type());
  }

  at::Tensor by_global_batch(const at::Tensor& x, const ModelBatch& batch) {
    const at::Tensor good = good_rows(x, batch.bad());
    const GlobalStatistics all = global_statistics(good, batch.sum_over_ranks());
    if (all.values < 2) {
      ++without_own_;
      return by_running_statistics(x);
    }
    const auto* const means = all.mean.data_ptr<double>();
    const auto* const variances = all.variance.data_ptr<double>();
    for (std::size_t channel = 0; channel < sums_.size() / 2; ++channel)
      note(channel, means[channel], variances[channel], all.values);
    values_ += all.values;
    const at::Tensor normal =
        NormalizeOverRanks::apply(x.to(at::kFloat), good_mask(x, batch.bad()), all, batch.sum_over_ranks());
    return scaled(normal, x);
  }

  /// 1 for good rows, to be multiplied with x; none where all are.
  static std::optional<at::Tensor> good_mask(const at::Tensor& x, std::span<const std::uint8_t> bad) {
    if (std::ranges::all_of(bad, [](std::uint8_t is_bad) { return is_bad == 0; })) return std::nullopt;
    std::vector<float> good;
    for (const std::uint8_t is_bad : bad) good.push_back(is_bad == 0 ? 1.0F : 0.0F);
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
    sizes[0] = x.size(0);
    return at::tensor(good).view(sizes).to(x.device());
  }

  /// `biased`: the variance over `values` values.
  void note(std::size_t channel, double mean, double biased, double values) {
    sums_[channel] += mean * values;
    sums_[sums_.size() / 2 + channel] += biased * (values * values / (values - 1));
  }

  /// What one lane of one micro-batch gave, float32 [channels]; on a GPU it may be on its way.
  struct Lane {
    at::Tensor mean;
    at::Tensor inverse;  ///< 1 / √(biased variance + ε)
    double values = 0;
  };

  BatchNormOver over_;
  at::Tensor weight_, bias_, mean_, variance_, batches_;
  std::vector<Lane> lanes_;
  std::vector<double> sums_;  ///< [2 × channels]: of means, and of unbiased variances, times their values
  double values_ = 0;
  double without_own_ = 0;
};

BatchNorm::BatchNorm(torch::nn::Module& owner, const std::string& name, std::int64_t channels,
                     BatchNormOver over)
    : module_(owner.register_module(name, std::make_shared<BatchNormModule>(channels, over))) {}

at::Tensor BatchNorm::forward(const at::Tensor& x, const ModelBatch& batch, const AfterNorm& after) const {
  return module_->forward(x, batch, after);
}

BatchNormSums::BatchNormSums(torch::nn::Module& module) {
  for (const auto& part : module.modules(/*include_self=*/false)) {
    if (auto norm = std::dynamic_pointer_cast<BatchNormModule>(part)) norms_.push_back(std::move(norm));
  }
}

BatchNormSums::~BatchNormSums() = default;

bool BatchNormSums::over_ranks() const {
  return std::ranges::any_of(norms_,
                             [](const auto& norm) { return norm->over() == BatchNormOver::kGlobalBatch; });
}

void BatchNormSums::clear() {
  fetched_.reset();
  for (const auto& norm : norms_) norm->clear();
}

void BatchNormSums::fetch() {
  std::vector<at::Tensor> lanes;
  for (const auto& norm : norms_) norm->append_lanes(lanes);
  fetched_.emplace(lanes.empty() ? at::empty({0}) : at::cat(lanes));
}

std::vector<double> BatchNormSums::take() {
  if (!fetched_) fetch();
  std::span<const float> left = fetched_->values<float>();
  std::vector<double> sums;
  for (const auto& norm : norms_) {
    sums.resize(sums.size() + norm->sum_count());
    norm->take_into(std::span(sums).last(norm->sum_count()), left);
  }
  fetched_.reset();
  return sums;
}

std::uint64_t BatchNormSums::apply(std::span<const double> sums) {
  const torch::NoGradGuard no_grad;
  double without_own = 0;
  std::vector<float> seen;  // of all norms that saw values: means, then variances
  std::vector<std::int64_t> sizes;
  std::vector<at::Tensor> running, batches;
  for (const auto& norm : norms_) {
    const auto mine = sums.first(norm->sum_count());
    sums = sums.subspan(norm->sum_count());
    without_own += mine.back();
    const double weight = mine[mine.size() - 2];
    if (weight == 0) continue;
    for (const double sum : mine.first(mine.size() - 2)) seen.push_back(static_cast<float>(sum / weight));
    sizes.insert(sizes.end(), 2, norm->running_mean().numel());
    running.insert(running.end(), {norm->running_mean(), norm->running_variance()});
    batches.push_back(norm->batches());
  }
  if (running.empty()) return static_cast<std::uint64_t>(without_own);
  const at::Device device = running.front().device();
  // Page-locked, or the host would wait for the copy.
  const at::Tensor here = at::empty({static_cast<std::int64_t>(seen.size())},
                                    at::TensorOptions(at::kFloat).pinned_memory(device.is_cuda()));
  std::ranges::copy(seen, here.data_ptr<float>());
  const at::Tensor there = here.to(device, /*non_blocking=*/true);
  at::_foreach_mul_(running, 1 - kMomentum);
  at::_foreach_add_(running, there.split_with_sizes(sizes), kMomentum);
  at::_foreach_add_(batches, 1);
  return static_cast<std::uint64_t>(without_own);
}

}  // namespace muster
