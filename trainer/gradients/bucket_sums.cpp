#include "trainer/gradients/bucket_sums.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"

namespace muster {
namespace {

constexpr std::size_t kAlignment = 64 / sizeof(float);  ///< in floats

std::size_t aligned(std::size_t floats) { return (floats + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

BucketSums::BucketSums(Communicator& comm, const BucketPlan& plan, std::span<const std::size_t> floats,
                       SumPrecision precision)
    : parts_(floats.size()) {
  for (const std::vector<std::uint32_t>& numbers : plan.buckets) {
    std::size_t size = 0;
    for (const std::uint32_t number : numbers) size += aligned(floats[number]);
    Bucket& bucket = buckets_.emplace_back();
    bucket.name = fmt::format("gradient bucket {} of {}", buckets_.size(), plan.buckets.size());
    bucket.parts = numbers;
    bucket.buffer = comm.make_sum_buffer(bucket.name, size, precision);
    std::size_t offset = 0;
    for (const std::uint32_t number : numbers) {
      parts_[number] = {buckets_.size() - 1, bucket.buffer->values().subspan(offset, floats[number])};
      offset += aligned(floats[number]);
    }
  }
  begin_step();
}

std::span<float> BucketSums::part(std::uint32_t number) { return parts_[number].values; }

void BucketSums::begin_step() {
  next_ = 0;
  for (Part& part : parts_) part.written = part.complete = false;
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parts.size();
}

void BucketSums::written(std::uint32_t number) { parts_[number].written = true; }

void BucketSums::complete(std::uint32_t number) {
  Part& part = parts_[number];
  ensure(!part.complete, "part {} of the gradients was completed twice", number);
  part.written = part.complete = true;
  --buckets_[part.bucket].missing;
  while (next_ < buckets_.size() && buckets_[next_].missing == 0) start_next();
}

void BucketSums::start_next() {
  Bucket& bucket = buckets_[next_++];
  for (const std::uint32_t number : bucket.parts) {
    if (!parts_[number].written) bucket.buffer->clear(parts_[number].values);
  }
  bucket.sum = bucket.buffer->start(bucket.name);
}

void BucketSums::start_rest() {
  while (next_ < buckets_.size()) start_next();
}

void BucketSums::finish() {
  start_rest();
  const auto start = std::chrono::steady_clock::now();
  for (Bucket& bucket : buckets_) {
    if (bucket.sum) bucket.sum->wait();
    bucket.sum.reset();
  }
  wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace muster
