#include "trainer/comm/shared_sum.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"
#include "trainer/comm/sum_slices.h"

namespace muster {

SharedSum::SharedSum(std::vector<Part> parts, std::size_t rank) : parts_(std::move(parts)), rank_(rank) {
  ensure(rank_ < parts_.size(), "rank {} of {} sums", rank_, parts_.size());
  for (const Part& part : parts_)
    ensure(part.signs != nullptr && part.values.size() == parts_[rank_].values.size(),
           "{} and {} floats are summed", part.values.size(), parts_[rank_].values.size());
}

void SharedSum::start() {
  const std::lock_guard turn(turn_);
  ensure(stage_ == Stage::kIdle, "a sum was started before the one before it was done");
  const std::size_t values = parts_[rank_].values.size();
  next_ = slice_start(values, rank_, parts_.size());
  end_ = slice_start(values, rank_ + 1, parts_.size());
  stage_ = Stage::kGathering;
  parts_[rank_].signs->given.store(++round_, std::memory_order_release);
}

SharedSum::Progress SharedSum::advance() {
  const std::unique_lock turn(turn_, std::try_to_lock);
  if (!turn) return Progress::kWaiting;
  if (stage_ == Stage::kGathering) {
    if (!all(&SumSigns::given)) return Progress::kWaiting;
    stage_ = Stage::kAdding;
  }
  if (stage_ == Stage::kAdding) {
    if (!add_piece()) return Progress::kWorked;
    parts_[rank_].signs->summed.store(round_, std::memory_order_release);
    stage_ = Stage::kSpreading;
  }
  if (stage_ == Stage::kSpreading) {
    if (!all(&SumSigns::summed)) return Progress::kWaiting;
    stage_ = Stage::kIdle;
  }
  return Progress::kDone;
}

bool SharedSum::all(std::atomic<std::uint64_t> SumSigns::*sign) const {
  return std::ranges::all_of(parts_, [&](const Part& part) {
    return (part.signs->*sign).load(std::memory_order_acquire) >= round_;
  });
}

/// True when the slice is done.
bool SharedSum::add_piece() {
  if (parts_.size() == 1) return true;
  std::array<float, kSumTile> sums;
  const std::size_t piece_end = std::min(end_, next_ + kSumPiece);
  for (; next_ < piece_end; next_ += std::min(kSumTile, piece_end - next_)) {
    const std::size_t count = std::min(kSumTile, piece_end - next_);
    std::memcpy(sums.data(), parts_[0].values.data() + next_, count * sizeof(float));
    for (std::size_t rank = 1; rank < parts_.size(); ++rank) {
      const float* terms = parts_[rank].values.data() + next_;
      for (std::size_t i = 0; i < count; ++i) sums[i] += terms[i];
    }
    for (const Part& part : parts_)
      std::memcpy(part.values.data() + next_, sums.data(), count * sizeof(float));
  }
  return next_ == end_;
}

}  // namespace muster
