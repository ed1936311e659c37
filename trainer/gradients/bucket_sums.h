#pragma once
// Buckets of a plan as flat memory, each summed over the ranks as soon as it is full.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainer/comm/communicator.h"
#include "trainer/gradients/bucket_plan.h"

namespace muster {

/// One thread. All ranks make the same plan, and start its sums in its order whatever order their parts come
/// in.
class BucketSums {
 public:
  /// Collective. `floats`: of each part (a parameter's gradient), by its number; the plan can leave parts
  /// out. `comm` outlives this.
  BucketSums(Communicator& comm, const BucketPlan& plan, std::span<const std::size_t> floats,
             SumPrecision precision = SumPrecision::kFloat32);

  /// Where a part lies; starts at a multiple of 64 bytes. Not to be touched from the start of its bucket's
  /// sum until finish().
  std::span<float> part(std::uint32_t number);

  /// Forgets the last step; what lies in the parts is worth nothing until written() says so.
  void begin_step();
  /// The part holds something of this step; one that never does counts as zeros.
  void written(std::uint32_t number);
  bool is_written(std::uint32_t number) const { return parts_[number].written; }
  /// The part is what it shall be: starts the sums that nothing is missing to and that are next in the plan.
  void complete(std::uint32_t number);
  /// Collective. Starts all the others. Other collectives may follow before finish().
  void start_rest();
  /// Collective. start_rest() where it was not called; returns when every part holds its sum.
  void finish();
  /// Seconds blocked in finish() so far.
  double wait_seconds() const { return wait_seconds_; }

 private:
  struct Part {
    std::size_t bucket = 0;
    std::span<float> values;
    bool written = false;
    bool complete = false;
  };
  struct Bucket {
    std::string name;
    std::vector<std::uint32_t> parts;
    std::unique_ptr<SumBuffer> buffer;
    std::size_t missing = 0;  ///< parts that are not complete
    std::unique_ptr<PendingReduce> sum;
  };
  void start_next();

  std::vector<Part> parts_;
  std::vector<Bucket> buckets_;
  std::size_t next_ = 0;  ///< first bucket that has not started
  double wait_seconds_ = 0;
};

}  // namespace muster
