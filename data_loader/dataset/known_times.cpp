#include "data_loader/dataset/known_times.h"

#include <fmt/format.h>

#include <cstring>
#include <type_traits>
#include <utility>

#include "core/text.h"

namespace muster {

namespace {

/// Calls body(value) with the number in its own type.
template <typename Body>
Lateness with_number(const Field& field, std::span<const std::byte> bytes, const Body& body) {
  return visit(field.dtype, [&]<typename T>(T*) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return field.is_missing(value) ? Lateness::kUnknown : body(value);
  });
}

/// Exact: a long double holds every 64-bit integer and every double.
template <typename A, typename B>
bool later(A known, B time) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
    return std::cmp_greater(known, time);
  } else {
    return static_cast<long double>(known) > static_cast<long double>(time);
  }
}

}  // namespace

std::vector<KnownTime> known_times(const Contract& contract, std::span<const std::size_t> features) {
  std::vector<KnownTime> result;
  const auto index = [&](const Field& field) {
    return static_cast<std::size_t>(&field - contract.fields().data());
  };
  for (const std::size_t feature : features) {
    const Field& field = contract.fields()[feature];
    if (field.known_at.empty()) continue;
    result.push_back({feature, index(contract.field(field.known_at)), index(*contract.only(Role::kTime))});
  }
  return result;
}

Lateness lateness(const Field& known_at, std::span<const std::byte> known_value, const Field& time,
                  std::span<const std::byte> time_value) {
  return with_number(known_at, known_value, [&](auto known) {
    return with_number(time, time_value,
                       [&](auto at) { return later(known, at) ? Lateness::kLate : Lateness::kInTime; });
  });
}

std::vector<LeakFinding> find_late(const Contract& contract, std::span<const LateCount> counts) {
  std::vector<LeakFinding> findings;
  for (const LateCount& count : counts) {
    if (count.late == 0) continue;
    const std::string& feature = contract.fields()[count.field.feature].name;
    findings.push_back(
        {"known_late",
         {feature},
         fmt::format("'{}' became known ('{}') after the row's time ('{}') in {} of {} rows, first in {}",
                     feature, contract.fields()[count.field.known_at].name,
                     contract.fields()[count.field.time].name, human_count(count.late),
                     human_count(count.rows), count.first)});
  }
  return findings;
}

std::vector<std::string> unknown_lines(const Contract& contract, std::span<const LateCount> counts) {
  std::vector<std::string> lines;
  for (const LateCount& count : counts) {
    if (count.unknown == 0) continue;
    lines.push_back(fmt::format("leak guard: when '{}' became known ('{}') is missing in {} of {} rows",
                                contract.fields()[count.field.feature].name,
                                contract.fields()[count.field.known_at].name, human_count(count.unknown),
                                human_count(count.rows)));
  }
  return lines;
}

}  // namespace muster
