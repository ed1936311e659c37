#include "models/loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::range;
using testing::specs_of;

struct Sums {
  double loss = 0;
  double weight = 0;
};

Sums sums_of(const at::Tensor& sums) {
  EXPECT_EQ(sums.scalar_type(), at::kDouble);
  EXPECT_EQ(sums.sizes(), at::IntArrayRef({2}));
  return {sums[0].item<double>(), sums[1].item<double>()};
}

ModelBatch whole(const Batch& batch) { return {batch, 0, batch.rows(), true, 1}; }

/// -log softmax(scores)[c]
double nll(const std::vector<double>& scores, std::size_t c) {
  double total = 0;
  for (const double score : scores) total += std::exp(score);
  return std::log(total) - scores[c];
}

Batch labelled(const std::vector<TensorSpec>& specs, const std::vector<double>& labels,
               const std::vector<float>& weights) {
  Batch batch(specs, labels.size(), aligned_allocator());
  batch.set_rows(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    batch.weights()[i] = weights[i];
    batch.positions()[i] = static_cast<std::uint32_t>(i);
    if (specs.back().kind == TensorSpec::Kind::kInt64) {
      batch.integers(0)[i] = static_cast<std::int64_t>(labels[i]);
    } else {
      batch.floats(0)[i] = static_cast<float>(labels[i]);
    }
  }
  return batch;
}

TEST(LossTest, CrossEntropyIsTheWeightedSum) {
  const Batch batch = labelled(specs_of({}, 3), {2, 1}, {1.0F, 1.0F});
  const at::Tensor scores = at::tensor({1.0F, 2.0F, 3.0F, 1.0F, 0.0F, -1.0F}).view({2, 3});
  // -log(e^3 / (e + e^2 + e^3)) = 0.40760596, -log(1 / (e + 1 + 1/e)) = 1.40760596
  const Sums sums = sums_of(loss_sums(scores, whole(batch), {LossKind::kCrossEntropy, 1, {}, 0}));
  EXPECT_NEAR(sums.loss, 0.40760596 + 1.40760596, 1e-6);
  EXPECT_EQ(sums.weight, 2);
}

TEST(LossTest, CrossEntropyWithClassWeightsSmoothingAndSampleWeights) {
  const std::vector<float> sample{0.5F, 2.0F, 0.0F};
  const std::vector<double> labels{2, 0, 1};
  const std::vector<double> weights{1, 2, 0.5};
  const double smoothing = 0.1;
  const std::vector<std::vector<double>> scores{{1, 2, 3}, {1, 0, -1}, {0.3, 0.2, 4}};
  double loss = 0;
  double weight = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto y = static_cast<std::size_t>(labels[i]);
    double row = (1 - smoothing) * weights[y] * nll(scores[i], y);
    for (std::size_t c = 0; c < 3; ++c) row += smoothing / 3 * weights[c] * nll(scores[i], c);
    loss += sample[i] * row;
    weight += sample[i] * weights[y];
  }
  const Batch batch = labelled(specs_of({}, 3), labels, sample);
  const at::Tensor tensor = at::tensor({1.0F, 2.0F, 3.0F, 1.0F, 0.0F, -1.0F, 0.3F, 0.2F, 4.0F}).view({3, 3});
  const Sums sums =
      sums_of(loss_sums(tensor, whole(batch), {LossKind::kCrossEntropy, 1, weights, smoothing}));
  EXPECT_NEAR(sums.loss, loss, 1e-6);
  EXPECT_NEAR(sums.weight, weight, 1e-12);
}

TEST(LossTest, BinaryWithPositiveWeight) {
  const Batch integers = labelled(specs_of({}, 2), {1, 0, 1}, {1.0F, 1.0F, 2.0F});
  const Batch floats = labelled(specs_of({}, 0), {1, 0, 1}, {1.0F, 1.0F, 2.0F});
  const at::Tensor scores = at::tensor({0.7F, -0.2F, -1.5F});
  // softplus(-0.7) = 0.40318605, softplus(-0.2) = 0.59813887, softplus(1.5) = 1.70141328
  const double expected = 3 * 0.40318605 + 0.59813887 + 2 * 3 * 1.70141328;
  for (const Batch* batch : {&integers, &floats}) {
    for (const at::Tensor& shaped : {scores, scores.view({3, 1})}) {
      const Sums sums = sums_of(loss_sums(shaped, whole(*batch), {LossKind::kBinary, 3, {}, 0}));
      EXPECT_NEAR(sums.loss, expected, 1e-6);
      EXPECT_EQ(sums.weight, 3 + 1 + 2 * 3);
    }
  }
}

TEST(LossTest, MeanSquaredError) {
  const Batch batch = labelled(specs_of({}, 0), {1, -2, 0.5}, {1.0F, 0.25F, 2.0F});
  const at::Tensor scores = at::tensor({3.0F, -1.0F, 0.0F});
  const Sums sums = sums_of(loss_sums(scores, whole(batch), {LossKind::kMse, 1, {}, 0}));
  EXPECT_NEAR(sums.loss, 4 + 0.25 * 1 + 2 * 0.25, 1e-12);
  EXPECT_EQ(sums.weight, 3.25);
}

TEST(LossTest, MeanSquaredErrorIsInUnitsOfTheLabelsDeviation) {
  const LossSettings settings{LossKind::kMse, 1, {}, 0, 200000, 50000};
  const Batch batch = labelled(specs_of({}, 0), {250000, 100000, 225000}, {1.0F, 0.25F, 2.0F});
  const at::Tensor scores = at::tensor({3.0F, -1.0F, 0.0F});
  const Sums sums = sums_of(loss_sums(scores, whole(batch), settings));
  EXPECT_NEAR(sums.loss, 4 + 0.25 * 1 + 2 * 0.25, 1e-6);  // labels 1, -2 and 0.5
  EXPECT_TRUE(at::allclose(predictions(scores, settings), at::tensor({350000.0F, 150000.0F, 200000.0F})));
}

TEST(LossTest, OfAnArrayIsTheMeanOverARowsValues) {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{6}, {2, 3}, {1, 3, 2}}) {
    const std::vector<TensorSpec> specs{{std::string(kLabelTensor), TensorSpec::Kind::kFloat32, shape}};
    Batch batch = batch_at(specs, 0, 3, range(0, 5));
    const LossSettings settings{LossKind::kMse, 1, {}, 0, 0.25, 2};
    std::vector<std::int64_t> whole_shape{5};
    whole_shape.insert(whole_shape.end(), shape.begin(), shape.end());
    const at::Tensor scores = at::randn(whole_shape);
    double loss = 0;
    double weight = 0;
    const auto plain = scores.reshape({5, 6});
    for (std::int64_t row = 0; row < 5; ++row) {
      double mean = 0;
      for (std::int64_t i = 0; i < 6; ++i) {
        const double label = (batch.floats(0)[row * 6 + i] - 0.25) / 2;
        mean += std::pow(plain[row][i].item<double>() - label, 2) / 6;
      }
      weight += batch.weights()[static_cast<std::size_t>(row)];
      loss += batch.weights()[static_cast<std::size_t>(row)] * mean;
    }
    for (const at::Tensor& some : {scores, scores.reshape({5, 6})}) {
      const Sums sums = sums_of(loss_sums(some, whole(batch), settings));
      EXPECT_NEAR(sums.loss, loss, 1e-6 * loss);
      EXPECT_NEAR(sums.weight, weight, 1e-6);
    }
    EXPECT_TRUE(at::allclose(predictions(scores, settings), scores * 2 + 0.25));
    EXPECT_THROW(loss_sums(at::zeros({5, 5}), whole(batch), settings), Error);
  }
}

TEST(LossTest, OfAnArrayDoesNotDependOnHowScoresLieInMemory) {
  const std::vector<TensorSpec> specs{{std::string(kLabelTensor), TensorSpec::Kind::kFloat32, {2, 3, 4}}};
  const Batch batch = batch_at(specs, 0, 3, range(0, 5));
  const LossSettings settings{LossKind::kMse, 1, {}, 0};
  const at::Tensor scores = at::randn({5, 2, 3, 4});
  const at::Tensor last = scores.contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(at::equal(loss_sums(scores, whole(batch), settings), loss_sums(last, whole(batch), settings)));
}

struct Case {
  LossSettings settings;
  std::int64_t classes = 0;
  std::vector<std::int64_t> score_shape;  ///< without rows
  std::vector<std::int64_t> label_shape = {};
  std::vector<TensorSpec> specs() const {
    std::vector<TensorSpec> label = specs_of({}, classes);
    label.front().shape = label_shape;
    return label;
  }
};

std::vector<Case> cases() {
  return {{{LossKind::kCrossEntropy, 1, {1, 2, 3, 0.5}, 0.05}, 4, {4}},
          {{LossKind::kBinary, 2.5, {}, 0}, 2, {}},
          {{LossKind::kMse, 1, {}, 0}, 0, {}},
          {{LossKind::kMse, 1, {}, 0}, 0, {3, 5}, {3, 5}}};
}

TEST(LossTest, AnySplitAddsUpToTheSameSumsAndGradients) {
  for (const Case& c : cases()) {
    const Batch batch = batch_at(c.specs(), c.classes, 3, range(0, 37));
    std::vector<std::int64_t> shape{37};
    shape.insert(shape.end(), c.score_shape.begin(), c.score_shape.end());
    at::Tensor scores = at::randn(shape).requires_grad_(true);
    const at::Tensor all = loss_sums(scores, whole(batch), c.settings);
    all[0].backward();
    const at::Tensor gradient = scores.grad().clone();
    scores.mutable_grad().reset();
    at::Tensor parts = at::zeros({2}, at::kDouble);
    for (const auto& [first, count] : {std::pair{0, 20}, {20, 0}, {20, 1}, {21, 16}}) {
      const ModelBatch part(batch, static_cast<std::size_t>(first), static_cast<std::size_t>(count), true, 1);
      const at::Tensor sums = loss_sums(scores.narrow(0, first, count), part, c.settings);
      sums[0].backward();
      parts += sums.detach();
    }
    EXPECT_TRUE(at::allclose(parts, all.detach(), 1e-6, 0)) << parts << all;
    EXPECT_TRUE(at::allclose(scores.grad(), gradient, 1e-6, 1e-7));
  }
}

/// Rows of several targets, then each target in a batch of its own.
struct TargetBatches {
  Batch all;
  std::vector<Batch> each;
};

TargetBatches target_batches(LossKind kind, std::int64_t targets, std::size_t rows) {
  const bool truths = kind == LossKind::kBinary;
  auto specs = specs_of({}, truths ? 2 : 0);
  const auto one = specs;
  specs.back().shape = {targets};
  TargetBatches result{batch_at(specs, 2, 5, range(0, static_cast<std::uint32_t>(rows))), {}};
  for (std::int64_t target = 0; target < targets; ++target) {
    Batch& batch = result.each.emplace_back(one, rows, aligned_allocator());
    batch.set_rows(rows);
    for (std::size_t row = 0; row < rows; ++row) {
      batch.weights()[row] = result.all.weights()[row];
      const auto place = row * static_cast<std::size_t>(targets) + static_cast<std::size_t>(target);
      if (truths) {
        batch.integers(0)[row] = result.all.integers(0)[place];
      } else {
        batch.floats(0)[row] = result.all.floats(0)[place];
      }
    }
  }
  return result;
}

TEST(LossTest, OfSeveralTargetsIsTheMeanOfTheSingleOnes) {
  const std::vector<LabelScale> scales{{0.5, 2}, {-3, 0.25}, {100, 50}};
  for (const LossKind kind : {LossKind::kBinary, LossKind::kMse}) {
    LossSettings settings{kind, 2.5, {}, 0};
    settings.scales = scales;
    const TargetBatches batches = target_batches(kind, 3, 29);
    at::Tensor scores = at::randn({29, 3}).requires_grad_(true);
    const at::Tensor all = loss_sums(scores, whole(batches.all), settings);
    all[0].backward();
    const at::Tensor gradient = scores.grad().clone();
    scores.mutable_grad().reset();
    const at::Tensor each = target_sums(scores.detach(), whole(batches.all), settings);
    at::Tensor mean = at::zeros({2}, at::kDouble);
    for (std::size_t target = 0; target < 3; ++target) {
      LossSettings single{kind, 2.5, {}, 0};
      if (kind == LossKind::kMse) {
        single.label_mean = scales[target].mean;
        single.label_deviation = scales[target].deviation;
      }
      const auto column = static_cast<std::int64_t>(target);
      const at::Tensor sums = loss_sums(scores.select(1, column), whole(batches.each[target]), single);
      EXPECT_TRUE(at::allclose(sums.detach(), each[column], 1e-12, 0)) << target;
      (sums[0] / 3).backward();
      mean += sums.detach() / 3;
      EXPECT_TRUE(at::allclose(predictions(scores.detach(), settings).select(1, column),
                               predictions(scores.detach().select(1, column), single), 1e-6, 0));
    }
    EXPECT_TRUE(at::allclose(all.detach(), mean, 1e-12, 0)) << all << mean;
    EXPECT_TRUE(at::allclose(scores.grad(), gradient, 1e-6, 1e-9));
    EXPECT_GT(gradient.abs().sum().item<double>(), 0.1);
  }
}

TEST(LossTest, SeveralTargetsWithoutRowsAndWithAWrongShape) {
  for (const LossKind kind : {LossKind::kBinary, LossKind::kMse}) {
    const TargetBatches none = target_batches(kind, 2, 0);
    at::Tensor parameter = at::ones({1}).requires_grad_(true);
    LossSettings settings{kind, 1, {}, 0};
    settings.scales.resize(2);
    const at::Tensor sums = loss_sums(parameter.expand({0, 2}), whole(none.all), settings);
    EXPECT_EQ(sums[0].item<double>(), 0);
    EXPECT_EQ(sums[1].item<double>(), 0);
    sums[0].backward();
    EXPECT_EQ(parameter.grad().item<float>(), 0);
    const TargetBatches some = target_batches(kind, 2, 4);
    EXPECT_THROW(loss_sums(at::zeros({4, 3}), whole(some.all), settings), Error);
    settings.scales.resize(3);
    EXPECT_THROW(loss_sums(at::zeros({4, 3}), whole(some.all), settings), Error) << "two labels";
  }
  const TargetBatches some = target_batches(LossKind::kBinary, 2, 4);
  LossSettings classes{LossKind::kCrossEntropy, 1, {}, 0};
  classes.scales.resize(2);
  EXPECT_THROW(loss_sums(at::zeros({4, 2}), whole(some.all), classes), Error);
}

TEST(LossTest, NoRowsGiveZerosThatCarryTheGraph) {
  for (const Case& c : cases()) {
    const Batch batch = batch_at(c.specs(), c.classes, 3, {});
    std::vector<std::int64_t> shape{0};
    shape.insert(shape.end(), c.score_shape.begin(), c.score_shape.end());
    at::Tensor parameter = at::ones({1}).requires_grad_(true);
    const at::Tensor sums = loss_sums(at::zeros(shape) * parameter, whole(batch), c.settings);
    EXPECT_EQ(sums_of(sums).loss, 0);
    EXPECT_EQ(sums_of(sums).weight, 0);
    sums[0].backward();
    EXPECT_EQ(parameter.grad().item<float>(), 0);
  }
}

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::kBug;
}

TEST(LossTest, BadLabelsAreADataErrorNotAnIgnoredRow) {
  const LossSettings classes{LossKind::kCrossEntropy, 1, {}, 0};
  for (const double label : {-100.0, -1.0, 3.0}) {
    const Batch batch = labelled(specs_of({}, 3), {label}, {1.0F});
    EXPECT_EQ(code_of([&] { loss_sums(at::zeros({1, 3}), whole(batch), classes); }), ErrorCode::kData);
  }
  for (const double label : {-0.5, 2.0, std::nan("")}) {
    const Batch batch = labelled(specs_of({}, 0), {label}, {1.0F});
    const auto body = [&] { loss_sums(at::zeros({1}), whole(batch), {LossKind::kBinary, 1, {}, 0}); };
    EXPECT_EQ(code_of(body), ErrorCode::kData);
  }
}

TEST(LossTest, ShapesThatDoNotFitAreAConfigError) {
  const Batch batch = labelled(specs_of({}, 3), {0, 1}, {1.0F, 1.0F});
  const ModelBatch rows = whole(batch);
  const at::Tensor wide = at::zeros({2, 3});
  EXPECT_EQ(code_of([&] { loss_sums(wide, rows, {LossKind::kBinary, 1, {}, 0}); }), ErrorCode::kConfig);
  EXPECT_EQ(code_of([&] { loss_sums(wide, rows, {LossKind::kMse, 1, {}, 0}); }), ErrorCode::kConfig);
  EXPECT_EQ(code_of([&] {
              loss_sums(at::zeros({2}), rows, {LossKind::kCrossEntropy, 1, {}, 0});
            }),
            ErrorCode::kConfig);
  EXPECT_EQ(code_of([&] {
              loss_sums(wide, rows, {LossKind::kCrossEntropy, 1, {1, 2}, 0});
            }),
            ErrorCode::kConfig);
  EXPECT_EQ(code_of([] { parse_loss_kind("cross-entropy"); }), ErrorCode::kConfig);
}

TEST(LossTest, PredictionsArePeoplesNumbers) {
  const at::Tensor scores = at::tensor({0.0F, std::log(3.0F)}).view({1, 2});
  EXPECT_TRUE(
      at::allclose(predictions(scores, {LossKind::kCrossEntropy}), at::tensor({0.25F, 0.75F}).view({1, 2})));
  EXPECT_TRUE(at::allclose(predictions(scores[0], {LossKind::kBinary}), at::tensor({0.5F, 0.75F})));
  EXPECT_TRUE(at::equal(predictions(scores, {LossKind::kMse}), scores));
}

}  // namespace
}  // namespace muster
