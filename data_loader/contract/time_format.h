#pragma once
// Dates and times that are not written as ISO 8601 has them: 31.12.2025, 12/31/2025 18:30.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace muster {

/// What is wrong with a format of strptime (POSIX), or "": it must have a day, a month and a year, and no
/// part that depends on language or place.
std::string time_format_fault(const std::string& format);

/// Seconds since 1970 of a text in UTC, written as `format` says; nothing if it is not, or if there is no
/// such day.
std::optional<std::int64_t> read_time(std::string_view text, const std::string& format);

/// Formats that people use, those with the day first before those with the month first.
std::span<const std::string_view> usual_time_formats();

}  // namespace muster
