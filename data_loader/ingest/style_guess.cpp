#include "data_loader/ingest/style_guess.h"

#include <algorithm>
#include <utility>

#include "core/text.h"
#include "data_loader/contract/time_format.h"

namespace muster {
namespace {

constexpr std::size_t kLongestUnit = 8;  // bytes
constexpr std::string_view kDigits = "0123456789";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_sign(char c) { return c == '%' || c == '$' || static_cast<unsigned char>(c) >= 0x80; }

/// What stands before or behind the digits, if it can be a unit; "" if there is none.
std::string unit_of(std::string_view cell) {
  const std::size_t first = cell.find_first_of(kDigits);
  const std::size_t last = cell.find_last_of(kDigits);
  if (first == std::string_view::npos) return "";
  const std::string_view behind = cell.substr(last + 1);
  std::string_view before = cell.substr(0, first);
  while (!before.empty() && (before.front() == '-' || before.front() == '+')) before.remove_prefix(1);
  while (!before.empty() && (before.back() == '-' || before.back() == '+')) before.remove_suffix(1);
  const std::string_view unit = without_blanks(behind.empty() ? before : behind);
  if (unit.empty() || unit.size() > kLongestUnit || utf8_prefix(unit) != unit.size()) return "";
  const bool apart = !behind.empty() && without_blanks(behind).size() < behind.size();
  const bool fine = std::ranges::all_of(unit, [&](char c) { return is_sign(c) || (apart && is_letter(c)); });
  return fine ? std::string(unit) : "";
}

bool reads(std::string_view cell, const NumberStyle& style) { return read_number(cell, style).has_value(); }

}  // namespace

std::optional<std::string> NumberStyleGuess::read(std::string_view cell) {
  NumberStyle tried = style_;
  if (tried.unit.empty()) tried.unit = unit_of(cell);
  if (!reads(cell, tried) && tried.thousands.empty()) {
    for (const char* const separator : {"'", " ", "\u00a0", "\u202f", ".", ","}) {
      if (separator == std::string(1, tried.decimal)) continue;
      tried.thousands = separator;
      if (reads(cell, tried)) break;
      tried.thousands.clear();
    }
  }
  if (!reads(cell, tried)) return std::nullopt;
  if (example_.empty() || tried.thousands != style_.thousands) example_ = cell;
  style_ = std::move(tried);
  return plain_number_text(cell, style_);
}

TimeFormatGuess::TimeFormatGuess() {
  for (const std::string_view format : usual_time_formats()) candidates_.push_back({std::string(format)});
}

void TimeFormatGuess::add(std::string_view cell) {
  std::vector<Candidate> left;
  for (Candidate& candidate : candidates_) {
    const auto time = read_time(cell, candidate.format);
    if (!time) continue;
    const auto seconds = static_cast<double>(*time);
    candidate.least = std::min(candidate.least, seconds);
    candidate.greatest = std::max(candidate.greatest, seconds);
    candidate.ascends = candidate.ascends && seconds >= candidate.last;
    candidate.last = seconds;
    left.push_back(std::move(candidate));
  }
  candidates_ = std::move(left);
  cells_ += candidates_.empty() ? 0 : 1;
}

}  // namespace muster
