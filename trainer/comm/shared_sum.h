#pragma once
// Sums over ranks that see each other's memory: each rank adds one slice of all ranks' values and puts the
// sums into all of them (a reduce-scatter and an all-gather in place).

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace muster {

/// How far a rank is, in memory that all ranks see. Only the rank itself writes them. Zero at first.
struct SumSigns {
  alignas(64) std::atomic<std::uint64_t> given = 0;   ///< sums that this rank has given its values for
  alignas(64) std::atomic<std::uint64_t> summed = 0;  ///< sums whose slice it has added up
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "processes cannot share a lock");
};

/// One rank's side of it. Terms are added in rank order: the same bits on every rank and every time.
class SharedSum {
 public:
  struct Part {
    SumSigns* signs = nullptr;
    std::span<float> values;
  };
  enum class Progress { kWaiting, kWorked, kDone };

  /// `parts`: of all ranks, in rank order, all of one length. They outlive this on every rank.
  SharedSum(std::vector<Part> parts, std::size_t rank);

  /// This rank's values are what they shall be: nobody else touches them until the sum is done. Not while one
  /// is under way.
  void start();
  /// Does a fraction of a millisecond's work of what can be done, waits for nobody. Any thread; one at a time
  /// works, others are told kWaiting. kDone, again and again: this rank's values are the sums.
  Progress advance();

 private:
  enum class Stage { kIdle, kGathering, kAdding, kSpreading };
  bool all(std::atomic<std::uint64_t> SumSigns::*sign) const;
  bool add_piece();

  const std::vector<Part> parts_;
  const std::size_t rank_;
  std::mutex turn_;  ///< around all that follows
  Stage stage_ = Stage::kIdle;
  std::uint64_t round_ = 0;
  std::size_t next_ = 0;  ///< of this rank's slice, not added yet
  std::size_t end_ = 0;
};

}  // namespace muster
