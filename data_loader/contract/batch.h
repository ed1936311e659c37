#pragma once
// One rank's share of a global batch: named tensors over one contiguous buffer.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// A tensor of a batch: `shape` without the row dimension; float32 or int64 (labels and ids).
struct TensorSpec {
  enum class Kind { kFloat32, kInt64 };
  std::string name;
  Kind kind = Kind::kFloat32;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t>
      ids;  ///< of a tensor of ids: how many each column can have; one for a whole array

  std::size_t values_per_row() const;
  std::size_t bytes_per_row() const { return values_per_row() * (kind == Kind::kFloat32 ? 4 : 8); }
  bool operator==(const TensorSpec&) const = default;
};

/// Which sample a row of a batch is.
struct RowId {
  std::uint32_t partition = 0;  ///< number in the manifest
  std::uint64_t row = 0;        ///< in its file
  bool operator==(const RowId&) const = default;
};

/// Gives memory for batch buffers, 64-byte aligned (pinned memory for GPUs comes later through this seam).
using BufferAllocator = std::function<std::shared_ptr<std::byte>(std::size_t bytes)>;
BufferAllocator aligned_allocator();

/// Owns its buffer; moves, never copies. Capacity is fixed at construction, rows() may be fewer. Tensors
/// start 64-byte aligned and their rows are packed. Concurrent writes to different rows are fine.
class Batch {
 public:
  Batch(std::vector<TensorSpec> specs, std::size_t capacity, const BufferAllocator& allocator);
  Batch(Batch&&) noexcept = default;
  Batch& operator=(Batch&&) noexcept = default;

  /// Bytes that a batch of that capacity takes, ids, positions, weights and bookkeeping included.
  static std::size_t bytes(std::span<const TensorSpec> specs, std::size_t capacity);

  std::size_t rows() const { return rows_; }
  void set_rows(std::size_t rows);  ///< at most the capacity; all of one lane
  /// As set_rows of the sum: so many rows of each lane, one after the other. Lanes without rows are left out.
  void set_lanes(std::span<const std::uint32_t> rows);
  std::span<const std::uint32_t> lanes() const { return lanes_; }
  std::uint64_t step = 0;   ///< global step, or number of the micro-batch in an evaluation
  std::uint64_t edits = 0;  ///< how often its stream changed it when it was whole: see BatchStream::ahead

  const std::vector<TensorSpec>& specs() const { return specs_; }
  /// Index of a tensor by name, or -1.
  int find(std::string_view name) const;
  std::byte* data(std::size_t tensor) { return data_[tensor]; }
  const std::byte* data(std::size_t tensor) const { return data_[tensor]; }
  float* floats(std::size_t tensor) { return reinterpret_cast<float*>(data_[tensor]); }
  std::int64_t* integers(std::size_t tensor) { return reinterpret_cast<std::int64_t*>(data_[tensor]); }

  /// All tensors and then the weights, of the capacity: what a device copies at once.
  std::span<const std::byte> memory() const { return {buffer_.get(), memory_bytes_}; }

  std::span<float> weights() { return {weights_, rows_}; }
  std::span<const float> weights() const { return {weights_, rows_}; }
  std::span<RowId> ids() { return {ids_.data(), rows_}; }
  std::span<const RowId> ids() const { return {ids_.data(), rows_}; }
  /// 1 for a row that is passed over: all zeros, with weight 0. Whoever fills a row says it.
  std::span<std::uint8_t> bad() { return {bad_.data(), rows_}; }
  std::span<const std::uint8_t> bad() const { return {bad_.data(), rows_}; }
  /// Makes a bad row of it.
  void clear_row(std::size_t row);
  /// Takes the bad rows out; the others keep their order, and are of one lane from here on.
  void drop_bad_rows();
  /// Position of each row in the global batch (in an evaluation: in the micro-batch).
  std::span<std::uint32_t> positions() { return {positions_.data(), rows_}; }
  std::span<const std::uint32_t> positions() const { return {positions_.data(), rows_}; }

 private:
  std::vector<TensorSpec> specs_;
  std::size_t capacity_;
  std::size_t rows_ = 0;
  std::shared_ptr<std::byte> buffer_;
  std::vector<std::byte*> data_;
  std::size_t memory_bytes_;
  float* weights_ = nullptr;  ///< in the buffer
  std::vector<std::uint8_t> bad_;
  std::vector<RowId> ids_;
  std::vector<std::uint32_t> positions_;
  std::vector<std::uint32_t> lanes_;  ///< rows of each
};

}  // namespace muster
