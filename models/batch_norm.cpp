#include "models/batch_norm.h"

#include <torch/torch.h>

#include <algorithm>
#include <optional>

#include "core/error.h"

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

class BatchNormModule : public torch::nn::Module {
 public:
  BatchNormModule(std::int64_t channels, BatchNormOver over) : over_(over) {
    weight_ = register_parameter("weight", at::ones({channels}));
    bias_ = register_parameter("bias", at::zeros({channels}));
    mean_ = register_buffer("running_mean", at::zeros({channels}));
    variance_ = register_buffer("running_var", at::ones({channels}));
    batches_ = register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
  }

  BatchNormOver over() const { return over_; }
  std::size_t sum_count() const { return 2 * static_cast<std::size_t>(mean_.numel()) + 2; }

  at::Tensor forward(const at::Tensor& x, const ModelBatch& batch) {
    if (!is_training() || !batch.training()) return by_running_statistics(x);
    return over_ == BatchNormOver::kLane ? by_lanes(x, batch) : by_global_batch(x, batch);
  }

  void clear() {
    sums_.reset();
    values_ = without_own_ = 0;
  }

  /// Sums of means and of variances, their weight, and how often there were none.
  void take_into(std::span<double> sums) {
    std::ranges::fill(sums, 0);
    if (sums_.defined()) {
      const at::Tensor on_host = sums_.to(at::kCPU);
      std::copy_n(on_host.data_ptr<double>(), on_host.numel(), sums.begin());
    }
    sums[sums.size() - 2] = values_;
    sums.back() = without_own_;
    clear();
  }

  void apply(std::span<const double> sums) {
    const double weight = sums[sums.size() - 2];
    if (weight == 0) return;
    const torch::NoGradGuard no_grad;
    const std::int64_t channels = mean_.numel();
    const at::Tensor all = at::from_blob(const_cast<double*>(sums.data()), {2, channels}, at::kDouble) /
                           weight;  // NOLINT: read only
    mean_.mul_(1 - kMomentum).add_(all[0].to(mean_.device(), at::kFloat), kMomentum);
    variance_.mul_(1 - kMomentum).add_(all[1].to(mean_.device(), at::kFloat), kMomentum);
    batches_.add_(1);
  }

 private:
  at::Tensor by_running_statistics(const at::Tensor& x) {
    return at::batch_norm(x, weight_, bias_, mean_, variance_, /*training=*/false, kMomentum, kEpsilon,
                          /*cudnn_enabled=*/true);
  }

  at::Tensor by_lanes(const at::Tensor& x, const ModelBatch& batch) {
    std::vector<at::Tensor> normal;
    std::int64_t first = 0;
    for (const std::int64_t rows : batch.lane_rows()) {
      const auto bad = batch.bad().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
      normal.push_back(by_one_lane(x.narrow(0, first, rows), bad));
      first += rows;
    }
    ensure(first == x.size(0), "a batch norm of {} rows in a batch of {}", x.size(0), first);
    if (normal.empty()) return by_running_statistics(x);  // no rows
    return normal.size() == 1 ? normal.front() : at::cat(normal);
  }

  at::Tensor by_one_lane(const at::Tensor& x, std::span<const std::uint8_t> bad) {
    const at::Tensor good = good_rows(x, bad);
    const auto values = static_cast<double>(values_per_channel(good));
    if (values < 2) {
      ++without_own_;
      return by_running_statistics(x);
    }
    if (good.size(0) == x.size(0)) {
      auto [normal, mean, inverse] =
          at::native_batch_norm(x, weight_, bias_, {}, {}, /*training=*/true, kMomentum, kEpsilon);
      note(mean, inverse.to(at::kDouble).pow(-2) - kEpsilon, values);
      return normal;
    }
    const auto [variance, mean] = at::var_mean(good.to(at::kFloat), reduced(x), /*unbiased=*/false);
    note(mean, variance.to(at::kDouble), values);
    const at::Tensor wide = x.to(at::kFloat);
    return scaled((wide - along(mean, x)) * along((variance + kEpsilon).rsqrt(), x), x);
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
    note(all.mean, all.variance, all.values);
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

  /// `biased`: the variance over `values` values, float64.
  void note(const at::Tensor& mean, const at::Tensor& biased, double values) {
    const torch::NoGradGuard no_grad;
    const at::Tensor seen =
        at::cat({mean.detach().to(at::kDouble) * values, biased.detach() * (values * values / (values - 1))});
    sums_ = sums_.defined() ? sums_ + seen : seen;
    values_ += values;
  }

  BatchNormOver over_;
  at::Tensor weight_, bias_, mean_, variance_, batches_;
  at::Tensor sums_;  ///< float64 [2 × channels]: of means, and of unbiased variances, times their values
  double values_ = 0;
  double without_own_ = 0;
};

BatchNorm::BatchNorm(torch::nn::Module& owner, const std::string& name, std::int64_t channels,
                     BatchNormOver over)
    : module_(owner.register_module(name, std::make_shared<BatchNormModule>(channels, over))) {}

at::Tensor BatchNorm::forward(const at::Tensor& x, const ModelBatch& batch) const {
  return module_->forward(x, batch);
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
  for (const auto& norm : norms_) norm->clear();
}

std::vector<double> BatchNormSums::take() {
  std::vector<double> sums;
  for (const auto& norm : norms_) {
    sums.resize(sums.size() + norm->sum_count());
    norm->take_into(std::span(sums).last(norm->sum_count()));
  }
  return sums;
}

std::uint64_t BatchNormSums::apply(std::span<const double> sums) {
  double without_own = 0;
  for (const auto& norm : norms_) {
    norm->apply(sums.first(norm->sum_count()));
    without_own += sums[norm->sum_count() - 1];
    sums = sums.subspan(norm->sum_count());
  }
  return static_cast<std::uint64_t>(without_own);
}

}  // namespace muster
