#pragma once
// Sums over the past of each card and terminal, as it was known at the time of a transaction.

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "data_loader/generators/card_fraud_world.h"

namespace muster {

/// Transactions of one card or terminal inside a window.
struct WindowSums {
  std::uint32_t count = 0;
  std::uint32_t frauds = 0;
  std::uint64_t cents = 0;
};

/// Rolling windows over a stream of transactions in time order. A window [oldest, newest) holds at time t the
/// transactions with t - oldest <= time < t - newest: never one of the same second, never a later one.
/// Remembers only the transactions of the longest window.
class CardFraudWindows {
 public:
  /// 1, 7 and 30 days, and the 28 days whose labels are known when labels take 7 days.
  enum Window { kOneDay, kSevenDays, kThirtyDays, kKnownLabels, kWindows };
  using Sums = std::array<WindowSums, kWindows>;
  static constexpr std::int64_t kLabelDelay = 7 * CardFraudWorld::kDay;

  CardFraudWindows(std::size_t cards, std::size_t terminals) : cards_(cards), terminals_(terminals) {}

  /// Moves all windows to time `now`, not before the last one.
  void advance(std::int64_t now);
  /// A transaction at the time of the last `advance`; counts from the next second on.
  void add(const CardTransaction& transaction) { recent_.push_back(transaction); }

  /// Of each window.
  const Sums& card(std::uint32_t card) const { return cards_[card]; }
  const Sums& terminal(std::uint32_t terminal) const { return terminals_[terminal]; }

 private:
  void count(const CardTransaction& transaction, std::size_t window, bool enters);

  std::deque<CardTransaction> recent_;
  std::uint64_t forgotten_ = 0;                    ///< transactions that left recent_
  std::array<std::uint64_t, kWindows> entered_{};  ///< transactions so far that came into each window
  std::array<std::uint64_t, kWindows> left_{};     ///< and that fell out of it again
  std::vector<Sums> cards_;
  std::vector<Sums> terminals_;
};

}  // namespace muster
