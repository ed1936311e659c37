#include "data_loader/order/row_shuffle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/file_system.h"

namespace muster {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;
constexpr std::uint64_t kMostBuckets = 256;

}  // namespace

RowShuffle::RowShuffle(std::filesystem::path directory, std::uint64_t rows, std::uint64_t row_bytes,
                       std::uint64_t seed, std::uint64_t bucket_bytes)
    : directory_(std::move(directory)),
      row_bytes_(row_bytes),
      seed_(seed),
      stream_(random_key(seed, Purpose::kIngestShuffle, {0})) {
  const std::uint64_t buckets =
      std::clamp<std::uint64_t>(rows * row_bytes / bucket_bytes + 1, 1, kMostBuckets);
  for (std::uint64_t i = 0; i < buckets; ++i)
    buckets_.push_back({directory_ / fmt::format("bucket-{}", i), {}});
  const auto files = make_posix_file_system();
  files->remove_all(directory_);  // what a killed run left
  files->make_directories(directory_);
}

RowShuffle::~RowShuffle() {
  std::error_code left_behind;  // nothing to be done about it here
  std::filesystem::remove_all(directory_, left_behind);
}

void RowShuffle::add(std::span<const std::byte> row) {
  Bucket& bucket = buckets_[stream_.below(buckets_.size())];
  bucket.buffer.insert(bucket.buffer.end(), row.begin(), row.end());
  if (bucket.buffer.size() >= kBufferBytes) flush(bucket);
}

void RowShuffle::flush(Bucket& bucket) {
  make_posix_file_system()->open_append(bucket.file)->append(bucket.buffer);
  bucket.buffer.clear();
}

void RowShuffle::drain(const std::function<void(std::span<const std::byte>, std::uint64_t)>& take) {
  const auto files = make_posix_file_system();
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    flush(buckets_[i]);
    std::vector<std::byte>().swap(buckets_[i].buffer);
    const std::vector<std::byte> rows = files->read(buckets_[i].file);
    files->remove_all(buckets_[i].file);
    std::vector<std::uint64_t> order(rows.size() / row_bytes_);
    std::iota(order.begin(), order.end(), std::uint64_t{0});
    shuffle(std::span(order), random_key(seed_, Purpose::kIngestShuffle, {1, i}));
    // Few rows at a time, so that a bucket is in memory once.
    const std::uint64_t at_once = std::max<std::uint64_t>(1, kBufferBytes / row_bytes_);
    std::vector<std::byte> some;
    for (std::uint64_t done = 0; done < order.size();) {
      const std::uint64_t count = std::min<std::uint64_t>(at_once, order.size() - done);
      some.clear();
      for (std::uint64_t k = 0; k < count; ++k) {
        const auto row = std::span(rows).subspan(order[done + k] * row_bytes_, row_bytes_);
        some.insert(some.end(), row.begin(), row.end());
      }
      take(some, count);
      done += count;
    }
  }
}

}  // namespace muster
