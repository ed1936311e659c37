#include "trainer/gradients/bucket_plan.h"

#include <algorithm>

namespace muster {

namespace {

/// Why `buckets` is no partition of 0..parameters-1, or "".
std::string why_no_plan(const std::vector<std::vector<std::uint32_t>>& buckets, std::size_t parameters) {
  std::vector<bool> seen(parameters, false);
  std::size_t count = 0;
  for (const auto& bucket : buckets) {
    if (bucket.empty()) return "a bucket is empty";
    for (const std::uint32_t parameter : bucket) {
      if (parameter >= parameters) {
        return fmt::format("names parameter {}, the model has {}", parameter, parameters);
      }
      if (seen[parameter]) return fmt::format("names parameter {} twice", parameter);
      seen[parameter] = true;
      ++count;
    }
  }
  return count == parameters ? "" : fmt::format("holds {} of the model's {} parameters", count, parameters);
}

}  // namespace

Json BucketPlan::to_json() const { return Json{{"buckets", buckets}, {"observed", observed}}; }

BucketPlan BucketPlan::from_json(const Json& json, std::size_t parameters, const std::string& where) {
  BucketPlan plan;
  // Signed on the way in: the JSON library would wrap a negative number silently.
  for (const auto& bucket : member<std::vector<std::vector<std::int64_t>>>(json, "buckets", where)) {
    auto& numbers = plan.buckets.emplace_back();
    for (const std::int64_t number : bucket) {
      if (number < 0 || number >= static_cast<std::int64_t>(parameters)) {
        throw Error(ErrorCode::kStorage,
                    fmt::format("the bucket plan names parameter {}, the model has {}", number, parameters),
                    where);
      }
      numbers.push_back(static_cast<std::uint32_t>(number));
    }
  }
  plan.observed = member<bool>(json, "observed", where);
  const std::string problem = why_no_plan(plan.buckets, parameters);
  if (!problem.empty()) throw Error(ErrorCode::kStorage, "the bucket plan " + problem, where);
  return plan;
}

BucketPlan plan_buckets(std::span<const std::uint64_t> parameter_bytes, std::span<const std::uint32_t> order,
                        const BucketLimits& limits, std::span<const std::uint32_t> alone) {
  BucketPlan plan;
  std::uint64_t used = 0;
  for (const std::uint32_t parameter : order) {
    ensure(parameter < parameter_bytes.size(), "the bucket order names parameter {} of {}", parameter,
           parameter_bytes.size());
    if (std::ranges::find(alone, parameter) != alone.end()) continue;
    const std::uint64_t bytes = parameter_bytes[parameter];
    const std::uint64_t cap = plan.buckets.size() <= 1 ? limits.first_bytes : limits.bytes;
    if (plan.buckets.empty() || used + bytes > cap) {
      plan.buckets.emplace_back();
      used = 0;
    }
    plan.buckets.back().push_back(parameter);
    used += bytes;
  }
  for (const std::uint32_t parameter : order) {
    if (std::ranges::find(alone, parameter) != alone.end()) plan.buckets.push_back({parameter});
  }
  const std::string problem = why_no_plan(plan.buckets, parameter_bytes.size());
  ensure(problem.empty(), "the bucket order {}", problem);
  return plan;
}

BucketLimits bucket_limits(std::uint64_t bytes) {
  return {std::min(BucketLimits().first_bytes, bytes), bytes};
}

std::vector<std::uint32_t> reverse_order(std::size_t parameters) {
  std::vector<std::uint32_t> order;
  for (std::size_t i = parameters; i > 0; --i) order.push_back(static_cast<std::uint32_t>(i - 1));
  return order;
}

}  // namespace muster
