// Nothing that models call writes outside the memory that it was given: neighbours' weights would be wrong,
// now and then.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <new>
#include <span>

#include "core/random.h"
#include "tests/models/random_batch.h"

namespace muster {
namespace {

using testing::batch_at;
using testing::options_of;
using testing::range;
using testing::specs_of;

constexpr std::size_t kMargin = 1 << 14;
constexpr std::align_val_t kAlignment{64};
constexpr std::byte kMark{0xa5};

/// Memory between margins, which are looked at when it is given back.
class MarginAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    auto* const whole = static_cast<std::byte*>(::operator new(bytes + 2 * kMargin, kAlignment));
    std::memcpy(whole, &bytes, sizeof bytes);
    std::fill(whole + sizeof bytes, whole + kMargin, kMark);
    std::fill_n(whole + kMargin + bytes, kMargin, kMark);
    return {whole + kMargin, whole + kMargin, give_back, c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return give_back; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }

  /// Blocks whose margins were written to since the last call.
  static int take_broken() { return broken().exchange(0); }

 private:
  static std::atomic<int>& broken() {
    static std::atomic<int> count;
    return count;
  }
  static void give_back(void* memory) {
    auto* const whole = static_cast<std::byte*>(memory) - kMargin;
    std::size_t bytes = 0;
    std::memcpy(&bytes, whole, sizeof bytes);
    const auto marked = [](std::span<const std::byte> margin) {
      return std::ranges::all_of(margin, [](std::byte mark) { return mark == kMark; });
    };
    if (!marked({whole + sizeof bytes, whole + kMargin}) || !marked({whole + kMargin + bytes, kMargin}))
      ++broken();
    ::operator delete(whole, kAlignment);
  }
};

/// While it lives all tensors' memory is between margins.
class WithMargins {
 public:
  WithMargins() : before_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(&between_, kPriority); }
  ~WithMargins() { c10::SetCPUAllocator(before_, kPriority); }
  WithMargins(const WithMargins&) = delete;
  WithMargins& operator=(const WithMargins&) = delete;

 private:
  static constexpr std::uint8_t kPriority = 100;
  MarginAllocator between_;
  c10::Allocator* before_;
};

void learn(Model& model, const Batch& batch) {
  const ModelBatch inputs(batch, 0, batch.rows(), true, 1);
  model.loss(model.forward(inputs), inputs, {.kind = LossKind::kCrossEntropy})[0].backward();
  model.module().zero_grad();
}

TEST(MemoryBounds, HoldForResnetsOfAnyWidth) {
  const WithMargins margins;
  RandomStream random(random_key(7, Purpose::kGenerate, {}));
  const auto pick = [&](std::int64_t from, std::int64_t to) {
    return from + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(to - from + 1)));
  };
  std::map<std::string, int> hit;
  for (int i = 0; i < 40; ++i) {
    const std::int64_t width = pick(1, 20), depth = pick(0, 3) == 0 ? 50 : 18;
    const bool last = pick(0, 3) > 0, large = pick(0, 1) == 1;
    const std::int64_t channels = pick(1, 4), height = pick(5, 40), rows = pick(1, 4);
    const auto specs =
        specs_of({{"image", TensorSpec::Kind::kFloat32, {channels, height, pick(5, 40)}, {}}}, /*classes=*/3);
    const Json options{{"depth", depth},
                       {"width", width},
                       {"channels_last", last},
                       {"stem", large ? "large" : "small"},
                       {"norm", pick(0, 1) == 1 ? "batch" : "group"}};
    const auto model = make_model("resnet", {options_of("resnet", options), specs, 3}, 1);
    learn(*model, batch_at(specs, 3, 0, range(0, static_cast<std::uint32_t>(rows))));
    EXPECT_EQ(MarginAllocator::take_broken(), 0) << options.dump() << " of " << specs[0].shape;
    ++hit[width < 8    ? "fewer channels than AVX2 has floats"
          : width < 16 ? "fewer than AVX-512 has"
                       : "as many and more"];
    ++hit[last ? "channels last" : "channels first"];
    ++hit[depth == 50 ? "bottlenecks" : "two convolutions a block"];
    ++hit[width % 8 == 0 ? "whole vectors" : "broken vectors"];
  }
  EXPECT_EQ(hit.size(), 9U);
  for (const auto& [edge, times] : hit) std::cout << edge << ": " << times << " times\n";
}

TEST(MemoryBounds, AWriteIntoAMarginIsSeen) {
  const WithMargins margins;
  for (const std::ptrdiff_t place : {std::ptrdiff_t{-1}, std::ptrdiff_t{12}}) {
    {
      const at::Tensor some = at::zeros({3});
      static_cast<char*>(some.data_ptr())[place] = 1;
    }
    EXPECT_EQ(MarginAllocator::take_broken(), 1);
  }
}

}  // namespace
}  // namespace muster
