#pragma once
// The steps that log.trace asks for.

#include <cstdint>
#include <optional>
#include <string>

namespace muster {

/// Global steps [first, last).
struct TraceRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

/// "A:B" with A < B, as in log.trace; nothing for "". Error{kConfig}.
std::optional<TraceRange> parse_trace_range(const std::string& text);

}  // namespace muster
