#pragma once
// Small helpers for lines that people read.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

std::string join(std::span<const std::string> parts, std::string_view separator);
/// The first few, joined by commas, "and 12 more".
std::string some_of(std::span<const std::string> parts, std::size_t shown = 5);
std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
/// Up to the first line break.
inline std::string first_line(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }
/// Length of the longest prefix that is well-formed UTF-8 (Unicode 15, table 3-7).
std::size_t utf8_prefix(std::string_view text);
/// In quotes as an error message shows it: cut after 40 bytes, what cannot be read as \x1f.
std::string readable_text(std::string_view text);
/// As one line: control characters, line ends too, as \x0a.
std::string one_line(std::string_view text);

/// The known name nearest to `name` (edit distance at most a third of its length, at least 1), or nothing.
std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> known);
/// " (did you mean 'x'?)", or "" when nothing is near.
std::string did_you_mean(std::string_view name, std::span<const std::string> known);

/// As one word of a shell's command line: unchanged where that is safe, else in single quotes.
std::string shell_quoted(std::string_view text);

/// "1.5 GiB", "312 B".
std::string human_bytes(std::uint64_t bytes);
/// "300,000".
std::string human_count(std::uint64_t count);
/// "2 h 05 min", "3 min 12 s", "4.2 s", "850 ms".
std::string human_seconds(double seconds);

/// Bytes from "512 MiB", "2GB", "1048576" (decimal and binary units); nothing if it is no such text.
std::optional<std::uint64_t> parse_bytes(std::string_view text);

/// The decimal number that `text` begins with; nothing if it begins otherwise or the number does not fit.
std::optional<int> leading_integer(std::string_view text);

/// UTC as "2026-01-31T12:34:56.789Z". From a system clock time in seconds since 1970.
std::string iso_time(double seconds_since_epoch);
double seconds_since_epoch();

/// Seconds since 1970 from "2026-01-31", "2026-01-31T12:34:56", with an optional trailing Z (UTC); nothing if
/// it is no such text.
std::optional<std::int64_t> parse_iso_time(std::string_view text);

}  // namespace muster
