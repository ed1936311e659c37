#pragma once
// Which gradients are reduced together, and in which order. A pure function; kept in the checkpoint because
// another cut changes the bits of the sums.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"

namespace muster {

struct BucketPlan {
  std::vector<std::vector<std::uint32_t>>
      buckets;            ///< parameter numbers, in the order in which they are reduced
  bool observed = false;  ///< made from the order seen in a backward pass
  bool operator==(const BucketPlan&) const = default;

  Json to_json() const;
  /// Error{kStorage} unless each of `parameters` parameters appears exactly once.
  static BucketPlan from_json(const Json& json, std::size_t parameters, const std::string& where);
};

struct BucketLimits {
  std::uint64_t first_bytes = std::uint64_t{1} << 20;  ///< a small first bucket starts early
  std::uint64_t bytes = std::uint64_t{25} << 20;
};
/// Buckets of up to so many bytes, the first no larger than usual.
BucketLimits bucket_limits(std::uint64_t bytes);

/// Fills buckets in `order` (parameter numbers, each once); a parameter larger than the cap is alone. Those
/// in `alone` get a bucket each, after all others.
BucketPlan plan_buckets(std::span<const std::uint64_t> parameter_bytes, std::span<const std::uint32_t> order,
                        const BucketLimits& limits = {}, std::span<const std::uint32_t> alone = {});
/// Reverse order of registration: what a backward pass usually does.
std::vector<std::uint32_t> reverse_order(std::size_t parameters);

}  // namespace muster
