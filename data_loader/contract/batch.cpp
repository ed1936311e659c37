#include "data_loader/contract/batch.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "core/error.h"

namespace muster {

namespace {

constexpr std::size_t kAlignment = 64;

std::size_t padded(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::size_t buffer_bytes(std::span<const TensorSpec> specs, std::size_t capacity) {
  std::size_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += padded(spec.bytes_per_row() * capacity);
  return std::max(bytes + padded(sizeof(float) * capacity), kAlignment);
}

}  // namespace

std::size_t TensorSpec::values_per_row() const {
  std::size_t values = 1;
  for (const std::int64_t extent : shape) values *= static_cast<std::size_t>(extent);
  return values;
}

BufferAllocator aligned_allocator() {
  return [](std::size_t bytes) {
    constexpr auto kAlign = std::align_val_t{kAlignment};
    return std::shared_ptr<std::byte>(static_cast<std::byte*>(::operator new(bytes, kAlign)),
                                      [](std::byte* memory) { ::operator delete(memory, kAlign); });
  };
}

Batch::Batch(std::vector<TensorSpec> specs, std::size_t capacity, const BufferAllocator& allocator)
    : specs_(std::move(specs)),
      capacity_(capacity),
      buffer_(allocator(buffer_bytes(specs_, capacity))),
      memory_bytes_(buffer_bytes(specs_, capacity)),
      bad_(capacity),
      ids_(capacity),
      positions_(capacity) {
  ensure(reinterpret_cast<std::uintptr_t>(buffer_.get()) % kAlignment == 0,
         "the allocator of batch buffers gave memory that is not {}-byte aligned", kAlignment);
  lanes_.reserve(capacity);
  std::byte* start = buffer_.get();
  for (const TensorSpec& spec : specs_) {
    data_.push_back(start);
    start += padded(spec.bytes_per_row() * capacity);
  }
  weights_ = reinterpret_cast<float*>(start);
  std::fill_n(weights_, capacity, 0.0F);
}

std::size_t Batch::bytes(std::span<const TensorSpec> specs, std::size_t capacity) {
  constexpr std::size_t kHeap = 32;  // what an allocation costs beside its bytes
  std::size_t bookkeeping = sizeof(Batch) + 8 * kHeap + kAlignment;
  for (const TensorSpec& spec : specs) {
    bookkeeping += sizeof(TensorSpec) + spec.name.size() + spec.shape.size() * sizeof(std::int64_t) +
                   sizeof(std::byte*) + 2 * kHeap;
  }
  const std::size_t row = sizeof(std::uint8_t) + sizeof(RowId) + 2 * sizeof(std::uint32_t);
  return buffer_bytes(specs, capacity) + capacity * row + bookkeeping;
}

void Batch::set_rows(std::size_t rows) {
  ensure(rows <= capacity_, "a batch of {} rows does not fit into a capacity of {}", rows, capacity_);
  rows_ = rows;
  lanes_.clear();
  if (rows > 0) lanes_.push_back(static_cast<std::uint32_t>(rows));
}

void Batch::set_lanes(std::span<const std::uint32_t> rows) {
  set_rows(std::accumulate(rows.begin(), rows.end(), std::size_t{0}));
  lanes_.assign(rows.begin(), rows.end());
  std::erase(lanes_, 0);
}

void Batch::clear_row(std::size_t row) {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const std::size_t bytes = specs_[i].bytes_per_row();
    std::fill_n(data_[i] + row * bytes, bytes, std::byte{0});
  }
  weights_[row] = 0;
  bad_[row] = 1;
}

void Batch::drop_bad_rows() {
  std::size_t kept = 0;
  for (std::size_t row = 0; row < rows_; ++row) {
    if (bad_[row] != 0) continue;
    for (std::size_t i = 0; kept < row && i < specs_.size(); ++i) {
      const std::size_t bytes = specs_[i].bytes_per_row();
      std::copy_n(data_[i] + row * bytes, bytes, data_[i] + kept * bytes);
    }
    weights_[kept] = weights_[row];
    ids_[kept] = ids_[row];
    positions_[kept] = positions_[row];
    bad_[kept++] = 0;
  }
  set_rows(kept);
}

int Batch::find(std::string_view name) const {
  const auto found = std::ranges::find(specs_, name, &TensorSpec::name);
  return found == specs_.end() ? -1 : static_cast<int>(found - specs_.begin());
}

}  // namespace muster
