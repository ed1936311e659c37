#include "data_loader/ingest/column_evidence.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/hash.h"
#include "core/text.h"

namespace muster {
namespace {

template <typename T>
bool reads_as(std::string_view text) {
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc{} && end == text.data() + text.size();
}

bool is_whole(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  return reads_as<std::int64_t>(text) || reads_as<std::uint64_t>(text);
}

/// Digits from the first that is not 0, of the mantissa.
int significant_digits(std::string_view text) {
  text = text.substr(0, text.find_first_of("eE"));
  int digits = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9' && (digits > 0 || c != '0')) ++digits;
  }
  return digits;
}

bool is_truth(std::string_view text) { return text == "0" || text == "1" || read_truth(text); }

}  // namespace

void DistinctHashes::add(std::uint64_t hash) {
  if (too_many_) return;
  hashes_.push_back(hash);
  if (hashes_.size() >= 2 * most_) compact();
}

void DistinctHashes::compact() {
  std::sort(hashes_.begin(), hashes_.end());
  hashes_.erase(std::unique(hashes_.begin(), hashes_.end()), hashes_.end());
  sorted_ = hashes_.size();
  if (sorted_ <= most_) return;
  too_many_ = true;
  std::vector<std::uint64_t>().swap(hashes_);
}

std::size_t DistinctHashes::count() {
  if (!too_many_ && sorted_ < hashes_.size()) compact();
  return too_many_ ? most_ + 1 : hashes_.size();
}

ColumnEvidence::ColumnEvidence(std::string name, std::size_t most_distinct, CellRules rules)
    : name_(std::move(name)),
      rules_(std::move(rules)),
      distinct_(most_distinct),
      number_style_(rules_.number.decimal) {}

std::vector<std::string> ColumnEvidence::time_formats() const {
  std::vector<std::string> formats;
  if (!other_times()) return formats;
  for (const TimeFormatGuess::Candidate& candidate : time_guess_.candidates())
    formats.push_back(candidate.format);
  return formats;
}

void ColumnEvidence::add(std::string_view cell) {
  cell = trim(cell);
  ++cells_;
  if (std::ranges::find(rules_.missing, cell) != rules_.missing.end()) {
    ++missing_;
    return;
  }
  longest_ = std::max(longest_, cell.size());
  valid_utf8_ = valid_utf8_ && utf8_prefix(cell) == cell.size();
  distinct_.add(fnv1a(std::as_bytes(std::span(cell.data(), cell.size()))));
  list(cell);
  truths_ += is_truth(cell) ? 1 : 0;
  if (add_as_number(cell)) return;
  if (const auto time = parse_iso_time(cell)) {
    ++iso_times_;
    add_number(static_cast<double>(*time));
  } else {
    time_guess_.add(cell);
  }
  const auto found = odd_.find(std::string(cell));
  if (found != odd_.end()) {
    ++found->second;
  } else if (odd_.size() < kMostOdd) {
    odd_.emplace(cell, 1);
  }
}

bool ColumnEvidence::add_as_number(std::string_view cell) {
  auto number = read_number(cell, rules_.number);
  std::optional<std::string> styled;
  if (!number) {
    styled = number_style_.read(cell);
    if (!styled) return false;
    number = read_number(*styled, NumberStyle{});
    cell = *styled;
    ++styled_;
  }
  ++numbers_;
  const std::size_t first = cell.find_first_not_of("+-");
  const std::string_view plain = cell.substr(std::min(first, cell.size()));
  if (plain.size() > 1 && plain[0] == '0' && plain[1] >= '0' && plain[1] <= '9') ++leading_zeros_;
  if (is_whole(cell)) {
    ++whole_;
  } else {
    digits_ = std::max(digits_, significant_digits(cell));
  }
  negative_ += *number < 0 ? 1 : 0;
  add_number(*number);
  return true;
}

void ColumnEvidence::add_number(double value) {
  if (value < least_) times_least_ = 0;
  least_ = std::min(least_, value);
  times_least_ += value == least_ ? 1 : 0;
  greatest_ = std::max(greatest_, value);
  ascends_ = ascends_ && value >= last_;
  last_ = value;
}

void ColumnEvidence::list(std::string_view cell) {
  if (too_many_to_list_) return;
  if (const auto found = listed_.find(cell); found != listed_.end()) {
    ++found->second;
    return;
  }
  listed_.emplace(cell, 1);
  if (listed_.size() <= kMostListed) return;
  too_many_to_list_ = true;
  listed_.clear();
}

std::vector<std::pair<std::string, std::uint64_t>> ColumnEvidence::values() const {
  std::vector<std::pair<std::string, std::uint64_t>> values(listed_.begin(), listed_.end());
  std::ranges::stable_sort(values, [](const auto& a, const auto& b) { return a.second > b.second; });
  return values;
}

}  // namespace muster
