#pragma once
// Collectives between ranks. Two implementations: MPI, and threads of one process (tests, and a program
// alone).

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/comm/sum_precision.h"

namespace muster {

class Gpus;

/// An all-reduce under way. Destroying one that is not done waits for it. Used by its communicator's thread,
/// and gone before the communicator.
class PendingReduce {
 public:
  virtual ~PendingReduce() = default;
  /// Returns when the buffer holds the sum on this rank.
  virtual void wait() = 0;
};

/// Floats that are summed over the ranks again and again. Gone before its communicator; one thread.
class SumBuffer {
 public:
  virtual ~SumBuffer() = default;
  /// Starts at a multiple of 64 bytes; zeros at first; in the GPU's memory after sum_on_gpus. Nobody's but
  /// the sum's from start() until the end of wait().
  virtual std::span<float> values() = 0;
  /// Sets `some` of values() to 0.
  virtual void clear(std::span<float> some) { std::ranges::fill(some, 0.0F); }
  /// Collective. As Communicator::start_all_reduce_sum of values(). What it returns is gone before this.
  virtual std::unique_ptr<PendingReduce> start(std::string_view name) = 0;
};

/// Collective operations of a group of ranks. Every collective has a name and gets the next sequence number;
/// all ranks must call the same ones in the same order. One thread at a time. A deadline never returns an
/// error: see the implementations.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Collective.
  virtual void barrier(std::string_view name) = 0;
  /// Collective. All ranks give the same size.
  virtual void broadcast(std::string_view name, std::span<std::byte> bytes, int root) = 0;
  /// Collective. Element-wise sums in place, the same bits on every rank and for every repetition with the
  /// same ranks.
  virtual void all_reduce_sum(std::string_view name, std::span<float> values) = 0;
  virtual void all_reduce_sum(std::string_view name, std::span<double> values) = 0;
  virtual void all_reduce_sum(std::string_view name, std::span<std::uint64_t> values) = 0;
  /// Collective. Starts a sum that progresses while the caller computes; `values` must stay until wait()
  /// returns.
  virtual std::unique_ptr<PendingReduce> start_all_reduce_sum(std::string_view name,
                                                              std::span<float> values) = 0;
  /// Collective. `count`, the same on all ranks, of floats to sum: in memory that is faster for it where the
  /// ranks have such.
  virtual std::unique_ptr<SumBuffer> make_sum_buffer(std::string_view name, std::size_t count,
                                                     SumPrecision precision = SumPrecision::kFloat32);
  /// Collective. How such buffers' sums add, which decides their bits: kRankOrder, or what else.
  virtual std::string sums(SumPrecision precision = SumPrecision::kFloat32) {
    static_cast<void>(precision);
    return kRankOrder;
  }
  static constexpr const char* kRankOrder = "in rank order";
  /// Collective. What they go by, which decides their time.
  virtual std::string sum_path() { return "memory of one process"; }
  /// Collective. From here on sum buffers lie in the memory of GPU `index`, each rank's own, and NCCL sums
  /// them: wait() returns at once, and what the caller's current stream does from there on comes after the
  /// sum. `gpus` outlives this.
  virtual void sum_on_gpus(Gpus& gpus, int index);
  /// Collective. Every rank's bytes (sizes may differ), in rank order, on every rank.
  virtual std::vector<std::vector<std::byte>> all_gather(std::string_view name,
                                                         std::span<const std::byte> bytes) = 0;
  /// Collective. `to[r]` goes to rank r; returns what each rank sent here, in rank order.
  virtual std::vector<std::vector<std::byte>> all_to_all(std::string_view name,
                                                         std::span<const std::vector<std::byte>> to) = 0;
  using Observer = std::function<void(std::string_view name, std::chrono::steady_clock::time_point from,
                                      std::chrono::steady_clock::time_point until)>;
  /// Called with each collective's time, from its start to its end on this rank, by any thread; empty:
  /// nobody. Ranks that are threads tell nothing.
  virtual void observe(const Observer& observer) { static_cast<void>(observer); }
  /// Seconds this rank was blocked in collectives so far.
  virtual double wait_seconds() const = 0;
  /// Seconds this rank's GPU stood still for sums so far, as far as it is known yet; nothing where no GPU
  /// sums.
  virtual std::optional<double> gpu_wait_seconds() { return std::nullopt; }
};

/// Broadcasts a text of any length from root.
std::string broadcast_text(Communicator& comm, std::string_view name, std::string text, int root = 0);

/// Collective. The smallest of all ranks' numbers.
std::uint32_t smallest(Communicator& comm, std::string_view name, std::uint32_t mine);

}  // namespace muster
