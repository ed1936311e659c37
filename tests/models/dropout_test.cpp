#include "models/dropout.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::range;
using testing::specs_of;

struct Key {
  std::uint64_t seed = 1;
  std::uint64_t step = 0;
  std::uint64_t layer = 0;
};

/// The mask (times its scale) of rows at these positions.
at::Tensor mask(std::vector<std::uint32_t> positions, std::int64_t width, double p, Key key = {}) {
  const Batch batch = batch_at(specs_of({}, 0), 0, key.step, positions);
  const ModelBatch rows(batch, 0, positions.size(), true, key.seed);
  return keyed_dropout(at::ones({rows.rows(), width}), p, rows, key.layer);
}

TEST(DropoutTest, AnySplitHasTheSameMask) {
  const at::Tensor all = mask(range(0, 30), 17, 0.4);
  for (const std::uint32_t cut : {0U, 1U, 13U, 30U}) {
    const at::Tensor parts = at::cat({mask(range(0, cut), 17, 0.4), mask(range(cut, 30), 17, 0.4)});
    EXPECT_TRUE(at::equal(parts, all)) << "cut at " << cut;
  }
  // Micro-batches of one rank's batch, and rows that lie in another order.
  const std::vector<std::uint32_t> positions{29, 3, 4, 28};
  const Batch batch = batch_at(specs_of({}, 0), 0, 0, positions);
  const ModelBatch last_two(batch, 2, 2, true, 1);
  EXPECT_TRUE(at::equal(keyed_dropout(at::ones({2, 17}), 0.4, last_two, 0), at::stack({all[4], all[28]})));
}

TEST(DropoutTest, DependsOnEveryPartOfItsKey) {
  const at::Tensor base = mask(range(0, 8), 64, 0.5);
  EXPECT_TRUE(at::equal(base, mask(range(0, 8), 64, 0.5)));
  EXPECT_FALSE(at::equal(base, mask(range(0, 8), 64, 0.5, {2, 0, 0})));
  EXPECT_FALSE(at::equal(base, mask(range(0, 8), 64, 0.5, {1, 1, 0})));
  EXPECT_FALSE(at::equal(base, mask(range(0, 8), 64, 0.5, {1, 0, 1})));
  EXPECT_FALSE(at::equal(base, mask(range(1, 9), 64, 0.5)));
  EXPECT_FALSE(at::equal(base[0], base[1]));
}

TEST(DropoutTest, ZeroesTheRightShareAndScalesTheRest) {
  for (const double p : {0.1, 0.5, 0.9}) {
    const std::int64_t count = 400 * 501;
    const at::Tensor values = mask(range(0, 400), 501, p);
    const auto kept = static_cast<double>(values.count_nonzero().item<std::int64_t>());
    const double sigma = std::sqrt(static_cast<double>(count) * p * (1 - p));
    EXPECT_NEAR(kept, static_cast<double>(count) * (1 - p), 5 * sigma) << p;
    EXPECT_EQ(values.max().item<float>(), static_cast<float>(1 / (1 - p)));
  }
}

TEST(DropoutTest, NeighboursAreIndependent) {
  const at::Tensor kept = (mask(range(0, 400), 500, 0.5) > 0).to(at::kDouble) - 0.5;
  for (const std::int64_t lag : {1, 2, 4}) {
    const at::Tensor products = kept.slice(1, lag) * kept.slice(1, 0, -lag);
    const double bound = 5 * 0.25 / std::sqrt(static_cast<double>(products.numel()));
    EXPECT_NEAR(products.mean().item<double>(), 0, bound) << "elements " << lag << " apart";
  }
  EXPECT_NEAR((kept.slice(0, 1) * kept.slice(0, 0, -1)).mean().item<double>(), 0, 5 * 0.25 / std::sqrt(2e5));
}

TEST(DropoutTest, GradientsPassTheSameMask) {
  const Batch batch = batch_at(specs_of({}, 0), 0, 5, range(0, 6));
  const ModelBatch rows(batch, 0, 6, true, 1);
  at::Tensor x = at::ones({6, 3, 5}).requires_grad_(true);
  const at::Tensor y = keyed_dropout(x, 0.3, rows, 2);
  y.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), y.detach()));
  EXPECT_GT((y == 0).sum().item<std::int64_t>(), 0);
}

TEST(DropoutTest, DoesNothingOutsideTrainingOrAtZero) {
  const Batch batch = batch_at(specs_of({}, 0), 0, 5, range(0, 6));
  const at::Tensor x = at::ones({6, 3});
  EXPECT_TRUE(keyed_dropout(x, 0.5, ModelBatch(batch, 0, 6, false, 1), 0).is_same(x));
  EXPECT_TRUE(keyed_dropout(x, 0, ModelBatch(batch, 0, 6, true, 1), 0).is_same(x));
  EXPECT_THROW(keyed_dropout(x, 1, ModelBatch(batch, 0, 6, true, 1), 0), Error);
  EXPECT_THROW(keyed_dropout(x, 0.5, ModelBatch(batch, 0, 5, true, 1), 0), Error);
}

}  // namespace
}  // namespace muster
