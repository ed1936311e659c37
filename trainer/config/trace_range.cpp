#include "trainer/config/trace_range.h"

#include <charconv>

#include "core/error.h"

namespace muster {

std::optional<TraceRange> parse_trace_range(const std::string& text) {
  if (text.empty()) return std::nullopt;
  TraceRange range;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, range.first);
  const bool colon = first.ec == std::errc() && first.ptr != end && *first.ptr == ':';
  const auto last = colon ? std::from_chars(first.ptr + 1, end, range.last)
                          : std::from_chars_result{end, std::errc::invalid_argument};
  if (last.ec != std::errc() || last.ptr != end || range.first >= range.last)
    fail(ErrorCode::kConfig, "log.trace is '{}'; it is two steps, as 100:110 for those from 100 to 109",
         text);
  return range;
}

}  // namespace muster
