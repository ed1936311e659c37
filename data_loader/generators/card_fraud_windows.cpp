#include "data_loader/generators/card_fraud_windows.h"

#include <algorithm>

namespace muster {
namespace {

struct Ages {
  std::int64_t oldest;
  std::int64_t newest;
};
constexpr std::int64_t kDay = CardFraudWorld::kDay;
constexpr std::array<Ages, CardFraudWindows::kWindows> kAges{
    {{kDay, 0},
     {7 * kDay, 0},
     {30 * kDay, 0},
     {28 * kDay + CardFraudWindows::kLabelDelay, CardFraudWindows::kLabelDelay}}};

void add_to(WindowSums& sums, const CardTransaction& transaction, bool enters) {
  // Unsigned numbers wrap, so that adding the negation subtracts.
  const std::uint32_t one = enters ? 1U : ~0U;
  sums.count += one;
  sums.frauds += transaction.fraud ? one : 0U;
  const std::uint64_t cents = transaction.cents;
  sums.cents += enters ? cents : ~cents + 1;
}

}  // namespace

void CardFraudWindows::advance(std::int64_t now) {
  for (std::size_t window = 0; window < kWindows; ++window) {
    const std::uint64_t end = forgotten_ + recent_.size();
    const auto before = [&](std::uint64_t number, std::int64_t age) {
      return number < end && recent_[number - forgotten_].time < now - age;
    };
    for (; before(entered_[window], kAges[window].newest); ++entered_[window]) {
      count(recent_[entered_[window] - forgotten_], window, true);
    }
    for (; before(left_[window], kAges[window].oldest); ++left_[window]) {
      count(recent_[left_[window] - forgotten_], window, false);
    }
  }
  const std::uint64_t needed = *std::min_element(left_.begin(), left_.end());
  for (; forgotten_ < needed; ++forgotten_) recent_.pop_front();
}

void CardFraudWindows::count(const CardTransaction& transaction, std::size_t window, bool enters) {
  add_to(cards_[transaction.customer][window], transaction, enters);
  add_to(terminals_[transaction.terminal][window], transaction, enters);
}

}  // namespace muster
