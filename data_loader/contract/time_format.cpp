#include "data_loader/contract/time_format.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

namespace muster {
namespace {

/// Of strptime those that mean the same everywhere.
constexpr std::string_view kKnown = "dembyYHMSTFR%";

}  // namespace

std::string time_format_fault(const std::string& format) {
  std::string parts;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') continue;
    if (++i == format.size()) return "ends with a single %";
    if (kKnown.find(format[i]) == std::string_view::npos)
      return fmt::format("%{} is not read: %d %m %b %Y %y %H %M %S are", format[i]);
    parts += format[i];
  }
  const auto has = [&](std::string_view any) { return parts.find_first_of(any) != std::string::npos; };
  if (has("F") || (has("de") && has("mb") && has("yY"))) return "";
  return "must have a day, a month and a year: \"%d.%m.%Y\"";
}

std::optional<std::int64_t> read_time(std::string_view text, const std::string& format) {
  constexpr std::size_t kLongest = 64;
  if (text.empty() || text.size() > kLongest) return std::nullopt;
  const std::string terminated(text);
  std::tm parts{};
  parts.tm_mday = 1;
  const char* const end = ::strptime(terminated.c_str(), format.c_str(), &parts);
  if (end != terminated.c_str() + terminated.size()) return std::nullopt;
  const std::tm read = parts;
  const std::time_t seconds = ::timegm(&parts);  // makes 2 March of 30 February
  const bool same = parts.tm_mday == read.tm_mday && parts.tm_mon == read.tm_mon &&
                    parts.tm_year == read.tm_year && parts.tm_hour == read.tm_hour &&
                    parts.tm_min == read.tm_min && parts.tm_sec == read.tm_sec;
  const bool short_year = parts.tm_year < -900;  // 25 where four digits were expected
  if (!same || short_year) return std::nullopt;
  return static_cast<std::int64_t>(seconds);
}

std::span<const std::string_view> usual_time_formats() {
  static constexpr std::array<std::string_view, 21> kFormats = {
      "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S",
      "%d-%m-%Y", "%d-%m-%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
      "%m-%d-%Y", "%m-%d-%Y %H:%M", "%m-%d-%Y %H:%M:%S", "%d.%m.%y", "%d/%m/%y",       "%m/%d/%y",
      "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S"};
  return kFormats;
}

}  // namespace muster
