#include "data_loader/generators/card_fraud_world.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

// What the world is made of: the first coordinate of every random key.
enum Stream : std::uint64_t { kMap = 1, kPeople = 2, kTravel = 3, kEvents = 4 };

constexpr std::uint64_t kUsualDays = 270;
constexpr std::uint64_t kMostDays = 2'900'000;  // from kStart to the year 9900 and some
constexpr double kDailyRate = 0.75;             // transactions of a customer
constexpr std::uint64_t kMaxCustomers = 100'000;
constexpr std::uint64_t kMaxTerminals = 50'000;

// How thieves act. In the last third of the time they have learnt: smaller amounts, more of it online.
struct FraudHabits {
  double terminal_hazard;      // per terminal and day
  double new_terminal_hazard;  // of terminals opened within the last 60 days
  double card_hazard;          // per card and day
  double online_share;         // of what is bought with stolen cards
  double card_low, card_high;  // amount over what the customer usually spends
  double skim_low, skim_high;  // the same at compromised terminals: small, to stay unseen
};
constexpr FraudHabits kEarly{0.0009, 0.0009, 0.0009, 0.40, 3.0, 8.0, 0.08, 0.30};
constexpr FraudHabits kLate{0.0008, 0.0020, 0.0010, 0.65, 2.4, 6.0, 0.10, 0.36};

constexpr int kTerminalFraudDays = 28;
constexpr int kCardFraudDays = 14;
constexpr double kSkimmedShare = 0.30;   // of the transactions at a compromised terminal
constexpr double kUnexplained = 0.0006;  // fraud that looks like any other transaction
constexpr double kOddHour = 0.85;        // of fraud: when the card's owner sleeps
constexpr double kAnyHour = 0.06;        // of honest transactions: at any hour
constexpr double kThiefActive = 0.35;    // of the days on which a thief has a card
constexpr double kSpreeShare = 0.12;     // of honest transactions: followed by another within the hour

double lognormal(RandomStream& stream, double median, double sigma) {
  return median * std::exp(sigma * stream.normal());
}

std::uint64_t poisson(RandomStream& stream, double mean) {
  std::uint64_t count = 0;
  double sum = stream.exponential();
  while (sum < mean) {
    sum += stream.exponential();
    ++count;
  }
  return count;
}

// A second of the day in which people of that kind shop (around 14:00, night workers around 02:00).
std::int64_t waking_second(RandomStream& stream, bool night) {
  const double centre = night ? 26.0 : 14.0;
  const double hour = centre + std::clamp(3.2 * stream.normal(), -7.0, 7.0);
  return static_cast<std::int64_t>(std::fmod(hour, 24.0) * 3600);
}

std::int64_t any_second(RandomStream& stream) {
  return static_cast<std::int64_t>(stream.below(CardFraudWorld::kDay));
}

// Two minutes to an hour on, the same day.
std::int64_t minutes_later(RandomStream& stream, std::int64_t second) {
  return std::min(second + 120 + static_cast<std::int64_t>(stream.below(3000)), CardFraudWorld::kDay - 1);
}

MapPoint near(RandomStream& stream, const MapPoint& centre, double deviation) {
  const double dx = stream.normal();
  return {centre.x + deviation * dx, centre.y + deviation * stream.normal()};
}

}  // namespace

double distance_km(const MapPoint& a, const MapPoint& b) { return std::hypot(a.x - b.x, a.y - b.y); }

CardFraudWorld::CardFraudWorld(std::uint64_t seed, std::uint64_t rows) : seed_(seed) {
  const double wanted = static_cast<double>(rows) / (kDailyRate * static_cast<double>(kUsualDays));
  const std::uint64_t count =
      std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 60, kMaxCustomers);
  const double per_customer = static_cast<double>(rows) / static_cast<double>(count);
  days_ = std::max(kUsualDays, static_cast<std::uint64_t>(per_customer / kDailyRate));
  if (days_ > kMostDays) {
    fail(ErrorCode::kUsage, "{} rows would take the simulated time beyond the year 9999: give at most {}",
         human_count(rows),
         human_count(static_cast<std::uint64_t>(static_cast<double>(kMaxCustomers) * kDailyRate *
                                                static_cast<double>(kMostDays))));
  }
  make_cities_and_terminals(std::clamp<std::uint64_t>(count / 2, 60, kMaxTerminals));
  make_customers(count, per_customer / static_cast<double>(days_));
}

void CardFraudWorld::make_cities_and_terminals(std::uint64_t count) {
  RandomStream stream(random_key(seed_, Purpose::kGenerate, {kMap}));
  cities_.resize(std::clamp<std::size_t>(count / 25, 4, 400));
  for (MapPoint& city : cities_) {
    const double x = 600 * stream.uniform();
    city = {x, 600 * stream.uniform()};
  }
  terminals_of_city_.resize(cities_.size() + 1);
  for (std::uint32_t i = 0; i < count; ++i) {
    CardFraudTerminal terminal;
    // The first ones make sure that every city, and the net, always has an open terminal.
    const bool founder = i <= cities_.size();
    terminal.city = static_cast<std::uint32_t>(founder ? i % cities_.size() : stream.below(cities_.size()));
    terminal.online = founder ? i == cities_.size() : stream.uniform() < 0.2;
    terminal.place = near(stream, cities_[terminal.city], 6);
    terminal.price_level = lognormal(stream, 1, 0.25);
    terminal.price_level_known = stream.uniform() < 0.9;
    const double age = lognormal(stream, 700, 0.8);
    const bool late = !founder && stream.uniform() < 0.15;
    const double opening = (0.6 + 0.35 * stream.uniform()) * static_cast<double>(days_);
    terminal.opened_day = late ? static_cast<int>(opening) : -static_cast<int>(age);
    terminals_of_city_[terminal.online ? cities_.size() : terminal.city].push_back(i);
    terminals_.push_back(terminal);
  }
}

void CardFraudWorld::make_customers(std::uint64_t count, double mean_rate) {
  RandomStream stream(random_key(seed_, Purpose::kGenerate, {kPeople}));
  double sum = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    CardFraudCustomer customer;
    customer.city = static_cast<std::uint32_t>(stream.below(cities_.size()));
    customer.home = near(stream, cities_[customer.city], 8);
    customer.mean_amount = lognormal(stream, 28, 0.8);
    customer.daily_rate = lognormal(stream, 1, 0.45);
    customer.online_share = 0.1 + 0.4 * stream.uniform();
    customer.night_worker = stream.uniform() < 0.4;
    customer.traveller = stream.uniform() < 0.25;
    customer.segment_known = stream.uniform() < 0.95;
    customer.age_band = stream.uniform() < 0.85 ? 1 + static_cast<int>(stream.below(6)) : 0;
    customer.tenure_days = std::floor(lognormal(stream, 900, 0.8));
    sum += customer.daily_rate;
    customers_.push_back(customer);
  }
  // Sprees and thieves add about a seventh; weekends lose a little.
  const double scale = mean_rate * static_cast<double>(count) / sum / 1.139;
  for (CardFraudCustomer& customer : customers_) customer.daily_rate *= scale;
}

bool CardFraudWorld::drifted() const { return today_ * 3 >= static_cast<std::int64_t>(days_) * 2; }

double CardFraudWorld::weekday_factor() const {
  const std::int64_t weekday = (today_ + 2) % 7;  // 0 is Monday
  return weekday >= 5 ? 0.85 : 1.05;
}

void CardFraudWorld::compromise(RandomStream& stream) {
  const FraudHabits& habits = drifted() ? kLate : kEarly;
  for (CardFraudTerminal& terminal : terminals_) {
    if (terminal.opened_day > today_ || terminal.compromised_until > today_) continue;
    const bool young = today_ - terminal.opened_day < 60;
    if (stream.uniform() >= (young ? habits.new_terminal_hazard : habits.terminal_hazard)) continue;
    terminal.compromised_until = static_cast<int>(today_) + kTerminalFraudDays;
  }
  std::erase_if(thieves_, [&](const Thief& thief) { return thief.until <= today_; });
  const std::uint64_t stolen = poisson(stream, habits.card_hazard * static_cast<double>(customers_.size()));
  for (std::uint64_t i = 0; i < stolen; ++i) {
    const auto victim = static_cast<std::uint32_t>(stream.below(customers_.size()));
    const auto city = static_cast<std::uint32_t>(stream.below(cities_.size()));
    thieves_.push_back({victim, today_ + kCardFraudDays, city});
  }
}

std::uint32_t CardFraudWorld::city_of_day(std::uint32_t customer) const {
  // Trips last up to five days; where to is a function of customer and day, so nothing has to be remembered.
  const auto trip = static_cast<std::uint64_t>((today_ + customer) / 5);
  RandomStream stream(random_key(seed_, Purpose::kGenerate, {kTravel, customer, trip}));
  const double away = customers_[customer].traveller ? 0.5 : 0.04;
  if (stream.uniform() >= away) return customers_[customer].city;
  return static_cast<std::uint32_t>(stream.below(cities_.size()));
}

std::uint32_t CardFraudWorld::pick_terminal(RandomStream& stream, bool online, std::uint32_t city) const {
  const std::vector<std::uint32_t>& choice = terminals_of_city_[online ? cities_.size() : city];
  for (;;) {  // ends: the first terminal of each list was open before the first day
    const std::uint32_t picked = choice[stream.below(choice.size())];
    if (terminals_[picked].opened_day <= today_) return picked;
  }
}

CardTransaction CardFraudWorld::transaction(std::uint32_t customer, std::uint32_t terminal,
                                            std::int64_t second, double euros) const {
  const double cents = std::clamp(std::round(euros * 100), 50.0, 500'000.0);
  return {kStart + today_ * kDay + second, customer, terminal, static_cast<std::uint32_t>(cents), false};
}

// One honest payment, unless the terminal is compromised and this card is skimmed.
void CardFraudWorld::pay(RandomStream& stream, std::uint32_t customer, std::uint32_t terminal,
                         std::int64_t second, std::vector<CardTransaction>& out) const {
  const CardFraudCustomer& who = customers_[customer];
  const CardFraudTerminal& where = terminals_[terminal];
  const double usual = who.mean_amount * where.price_level;
  if (where.compromised_until > today_ && stream.uniform() < kSkimmedShare) {
    const FraudHabits& habits = drifted() ? kLate : kEarly;
    const double share = habits.skim_low + (habits.skim_high - habits.skim_low) * stream.uniform();
    if (stream.uniform() < kOddHour) second = waking_second(stream, !who.night_worker);
    out.push_back(transaction(customer, terminal, second, usual * share));
    out.back().fraud = true;
    return;
  }
  out.push_back(transaction(customer, terminal, second, lognormal(stream, usual, 0.42)));
  out.back().fraud = stream.uniform() < kUnexplained;
}

void CardFraudWorld::shop(RandomStream& stream, std::uint32_t customer,
                          std::vector<CardTransaction>& out) const {
  const CardFraudCustomer& who = customers_[customer];
  const std::uint64_t count = poisson(stream, who.daily_rate * weekday_factor());
  if (count == 0) return;
  const std::uint32_t city = city_of_day(customer);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::int64_t second =
        stream.uniform() < kAnyHour ? any_second(stream) : waking_second(stream, who.night_worker);
    do {
      const bool online = stream.uniform() < who.online_share;
      pay(stream, customer, pick_terminal(stream, online, city), second, out);
      second = minutes_later(stream, second);
    } while (stream.uniform() < kSpreeShare);
  }
}

void CardFraudWorld::steal(RandomStream& stream, const Thief& thief,
                           std::vector<CardTransaction>& out) const {
  const CardFraudCustomer& who = customers_[thief.customer];
  const FraudHabits& habits = drifted() ? kLate : kEarly;
  if (stream.uniform() >= kThiefActive) return;
  const bool odd = stream.uniform() < kOddHour;
  std::int64_t second = waking_second(stream, odd != who.night_worker);
  const std::uint64_t count = 1 + poisson(stream, 1.0);
  for (std::uint64_t i = 0; i < count; ++i) {
    const bool online = stream.uniform() < habits.online_share;
    const std::uint32_t terminal = pick_terminal(stream, online, thief.city);
    const double times = habits.card_low + (habits.card_high - habits.card_low) * stream.uniform();
    out.push_back(transaction(thief.customer, terminal, second, who.mean_amount * times));
    out.back().fraud = true;
    second = minutes_later(stream, second);
  }
}

std::vector<CardTransaction> CardFraudWorld::next_day() {
  RandomStream stream(random_key(seed_, Purpose::kGenerate, {kEvents, static_cast<std::uint64_t>(today_)}));
  compromise(stream);
  std::vector<CardTransaction> out;
  for (std::uint32_t customer = 0; customer < customers_.size(); ++customer) shop(stream, customer, out);
  for (const Thief& thief : thieves_) steal(stream, thief, out);
  std::stable_sort(out.begin(), out.end(), [](const CardTransaction& a, const CardTransaction& b) {
    return std::tie(a.time, a.customer) < std::tie(b.time, b.customer);
  });
  ++today_;
  return out;
}

}  // namespace muster
