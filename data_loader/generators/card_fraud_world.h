#pragma once
// The simulated world behind `generate card-fraud`: customers pay at terminals, some cards and terminals are
// compromised. Pure and seeded; memory grows with customers and terminals, which are capped, never with rows.

#include <cstdint>
#include <vector>

#include "core/random.h"

namespace muster {

/// A place on the map, in km.
struct MapPoint {
  double x = 0;
  double y = 0;
};
double distance_km(const MapPoint& a, const MapPoint& b);

struct CardFraudCustomer {
  MapPoint home;
  std::uint32_t city = 0;
  double mean_amount = 0;     ///< EUR, what this customer usually spends at once
  double daily_rate = 0;      ///< expected transactions a day
  double online_share = 0;    ///< of the customer's transactions
  bool night_worker = false;  ///< awake at night: shops when others sleep
  bool traveller = false;     ///< often away from home
  bool segment_known = true;  ///< whether the bank knows night_worker
  int age_band = 0;           ///< 1 … 6, or 0 where the bank does not know
  double tenure_days = 0;     ///< age of the account on the first day
};

struct CardFraudTerminal {
  MapPoint place;
  std::uint32_t city = 0;
  bool online = false;
  double price_level = 1;  ///< multiplies amounts
  bool price_level_known = true;
  int opened_day = 0;         ///< relative to the first day; negative: opened before
  int compromised_until = 0;  ///< first day without fraud again; 0: not compromised
};

struct CardTransaction {
  std::int64_t time = 0;  ///< seconds since 1970
  std::uint32_t customer = 0;
  std::uint32_t terminal = 0;
  std::uint32_t cents = 0;
  bool fraud = false;
};

/// Day by day: next_day gives all transactions of one day in time order. Same seed and rows: same world.
class CardFraudWorld {
 public:
  static constexpr std::int64_t kStart = 1735689600;  ///< 2025-01-01, a Wednesday
  static constexpr std::int64_t kDay = 86400;

  /// Sized so that about `rows` transactions happen in days().
  CardFraudWorld(std::uint64_t seed, std::uint64_t rows);

  std::uint64_t days() const { return days_; }
  const std::vector<CardFraudCustomer>& customers() const { return customers_; }
  const std::vector<CardFraudTerminal>& terminals() const { return terminals_; }

  std::vector<CardTransaction> next_day();

 private:
  struct Thief {
    std::uint32_t customer = 0;
    std::int64_t until = 0;  ///< first day without fraud again
    std::uint32_t city = 0;  ///< where the copied card is used
  };

  void make_cities_and_terminals(std::uint64_t count);
  void make_customers(std::uint64_t count, double mean_rate);
  bool drifted() const;
  double weekday_factor() const;

  void compromise(RandomStream& stream);
  void shop(RandomStream& stream, std::uint32_t customer, std::vector<CardTransaction>& out) const;
  void steal(RandomStream& stream, const Thief& thief, std::vector<CardTransaction>& out) const;
  void pay(RandomStream& stream, std::uint32_t customer, std::uint32_t terminal, std::int64_t second,
           std::vector<CardTransaction>& out) const;
  std::uint32_t city_of_day(std::uint32_t customer) const;
  std::uint32_t pick_terminal(RandomStream& stream, bool online, std::uint32_t city) const;
  CardTransaction transaction(std::uint32_t customer, std::uint32_t terminal, std::int64_t second,
                              double euros) const;

  std::uint64_t seed_;
  std::uint64_t days_ = 0;
  std::int64_t today_ = 0;
  std::vector<MapPoint> cities_;
  std::vector<CardFraudTerminal> terminals_;
  std::vector<std::vector<std::uint32_t>> terminals_of_city_;  ///< one more list at the end: online
  std::vector<CardFraudCustomer> customers_;
  std::vector<Thief> thieves_;
};

}  // namespace muster
