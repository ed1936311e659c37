// Generator "card-fraud": card payments over months, in time order, some of them fraud.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "core/text.h"
#include "data_loader/generators/card_fraud_windows.h"
#include "data_loader/generators/card_fraud_world.h"
#include "data_loader/generators/generator.h"

namespace muster {
namespace {

// Of the simulated time.
constexpr double kTrainShare = 0.60;
constexpr double kValidationEnd = 0.75;
constexpr std::int64_t kGapDays = CardFraudWindows::kLabelDelay / CardFraudWorld::kDay;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct Column {
  DType dtype;
  std::string_view name;
  std::string_view rest;     ///< what the contract declares besides the dtype, as YAML
  std::string_view comment;  ///< for people
};

// In contract order; CardFraudGenerator::row gives the values in the same order.
constexpr std::array kColumns{
    Column{DType::kInt64, "tx_time", "unit: s, role: time",
           "seconds since 1970, UTC; rows are in this order"},
    Column{DType::kInt64, "customer_id", "role: key", "one card per customer"},
    Column{DType::kInt64, "terminal_id", "role: key", ""},
    Column{DType::kFloat32, "amount", "unit: EUR, range: [0.5, 5000]", ""},
    Column{DType::kFloat32, "hour", "unit: h, range: [0, 24]", "of the day, with its fraction"},
    Column{DType::kUInt8, "night", "allowed: [0, 1]", "1: between 20:00 and 08:00"},
    Column{DType::kUInt8, "weekday", "range: [0, 6]", "0: Monday"},
    Column{DType::kUInt8, "online", "allowed: [0, 1]", "1: the card was not present"},
    Column{DType::kFloat32, "distance_km", "unit: km, range: [0, 2000], missing: indicator",
           "from home to the terminal; missing: online"},
    Column{DType::kFloat32, "previous_seconds", "unit: s, range: [0, null], missing: indicator",
           "since the card's payment before; missing: there is none"},
    Column{DType::kFloat32, "previous_km", "unit: km, range: [0, 2000], missing: indicator",
           "from the card's last terminal with a place; missing: online, or there is none"},
    Column{DType::kFloat32, "night_worker", "allowed: [0, 1], missing: indicator",
           "1: awake at night; missing: the bank does not know"},
    Column{DType::kUInt8, "traveller", "allowed: [0, 1]", "1: often away from home"},
    Column{DType::kFloat32, "age_band", "range: [1, 6], missing: indicator",
           "missing: the bank does not know"},
    Column{DType::kFloat32, "tenure_days", "unit: d, range: [0, null]", "age of the account"},
    Column{DType::kFloat32, "terminal_price_level", "range: [0.1, 10], missing: indicator",
           "1: prices as elsewhere; missing: not surveyed"},
    Column{DType::kFloat32, "terminal_age_days", "unit: d, range: [0, null]", ""},
    // The past: windows end right before the payment, so no row knows of its own second or of later ones.
    Column{DType::kInt32, "card_tx_1d", "range: [0, null]", "the card's payments in the 24 h before"},
    Column{DType::kInt32, "card_tx_7d", "range: [0, null]", ""},
    Column{DType::kInt32, "card_tx_30d", "range: [0, null]", ""},
    Column{DType::kFloat32, "card_amount_1d", "unit: EUR, range: [0, null]", "their sum"},
    Column{DType::kFloat32, "card_amount_7d", "unit: EUR, range: [0, null]", ""},
    Column{DType::kFloat32, "card_amount_30d", "unit: EUR, range: [0, null]", ""},
    Column{DType::kInt32, "terminal_tx_1d", "range: [0, null]", "the terminal's payments in the 24 h before"},
    Column{DType::kInt32, "terminal_tx_7d", "range: [0, null]", ""},
    Column{DType::kInt32, "terminal_tx_30d", "range: [0, null]", ""},
    Column{DType::kFloat32, "terminal_amount_1d", "unit: EUR, range: [0, null]", "their sum"},
    Column{DType::kFloat32, "terminal_amount_7d", "unit: EUR, range: [0, null]", ""},
    Column{DType::kFloat32, "terminal_amount_30d", "unit: EUR, range: [0, null]", ""},
    Column{DType::kInt32, "card_known_frauds_28d", "range: [0, null]",
           "of the 28 days that ended 7 days ago: later labels are not known yet"},
    Column{DType::kInt32, "terminal_known_frauds_28d", "range: [0, null]", ""},
    Column{DType::kUInt8, "is_fraud", "allowed: [0, 1], role: label", "known 7 days after the payment"},
};
using Row = std::array<double, kColumns.size()>;

void put(DType type, double value, std::byte* out) {
  visit(type, [&]<typename T>(T*) {
    const T number = static_cast<T>(value);
    std::memcpy(out, &number, sizeof number);
  });
}

class CardFraudGenerator : public RowGenerator {
 public:
  explicit CardFraudGenerator(const GenerateOptions& options)
      : world_(options.seed, options.rows),
        windows_(world_.customers().size(), world_.terminals().size()),
        last_(world_.customers().size()) {}

  std::string contract_yaml() const override;

  void next(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    for (std::size_t i = 0; i < kColumns.size(); ++i) columns[i].resize(rows * size_of(kColumns[i].dtype));
    for (std::uint64_t r = 0; r < rows; ++r) {
      const Row values = row(next_transaction());
      for (std::size_t i = 0; i < kColumns.size(); ++i) {
        const DType type = kColumns[i].dtype;
        put(type, values[i], columns[i].data() + r * size_of(type));
      }
    }
  }

 private:
  struct LastPayment {
    std::optional<std::int64_t> time;
    std::optional<std::uint32_t> terminal;  ///< the last one with a place
  };

  const CardTransaction& next_transaction() {
    while (next_ == day_.size()) {
      day_ = world_.next_day();
      next_ = 0;
    }
    return day_[next_++];
  }

  static constexpr std::size_t kPastWindows = 3;  // 1, 7 and 30 days
  using Present = std::array<double, 17>;
  using Past = std::array<double, 2 * 2 * kPastWindows + 2>;
  Present present(const CardTransaction& transaction) const;
  Past past(const CardTransaction& transaction) const;
  Row row(const CardTransaction& transaction);

  CardFraudWorld world_;
  CardFraudWindows windows_;
  std::vector<LastPayment> last_;
  std::vector<CardTransaction> day_;
  std::size_t next_ = 0;
};

CardFraudGenerator::Present CardFraudGenerator::present(const CardTransaction& tx) const {
  const CardFraudCustomer& customer = world_.customers()[tx.customer];
  const CardFraudTerminal& terminal = world_.terminals()[tx.terminal];
  const LastPayment& last = last_[tx.customer];
  const std::int64_t age = tx.time - CardFraudWorld::kStart;
  const std::int64_t day = age / CardFraudWorld::kDay;
  const double hour = static_cast<double>(age % CardFraudWorld::kDay) / 3600;
  const bool moved = !terminal.online && last.terminal;
  return {
      static_cast<double>(tx.time),
      static_cast<double>(tx.customer),
      static_cast<double>(tx.terminal),
      tx.cents / 100.0,
      hour,
      hour < 8 || hour >= 20 ? 1.0 : 0.0,
      static_cast<double>((day + 2) % 7),
      terminal.online ? 1.0 : 0.0,
      terminal.online ? kUnknown : distance_km(customer.home, terminal.place),
      last.time ? static_cast<double>(tx.time - *last.time) : kUnknown,
      moved ? distance_km(world_.terminals()[*last.terminal].place, terminal.place) : kUnknown,
      customer.segment_known ? (customer.night_worker ? 1.0 : 0.0) : kUnknown,
      customer.traveller ? 1.0 : 0.0,
      customer.age_band > 0 ? customer.age_band : kUnknown,
      customer.tenure_days + static_cast<double>(day),
      terminal.price_level_known ? terminal.price_level : kUnknown,
      static_cast<double>(day - terminal.opened_day),
  };
}

CardFraudGenerator::Past CardFraudGenerator::past(const CardTransaction& tx) const {
  Past values{};
  std::size_t next = 0;
  const std::array sums{&windows_.card(tx.customer), &windows_.terminal(tx.terminal)};
  for (const CardFraudWindows::Sums* of : sums) {
    for (std::size_t window = 0; window < kPastWindows; ++window) {
      values[next + window] = static_cast<double>((*of)[window].count);
      values[next + kPastWindows + window] = static_cast<double>((*of)[window].cents) / 100;
    }
    next += 2 * kPastWindows;
  }
  for (const CardFraudWindows::Sums* of : sums) {
    values[next++] = static_cast<double>((*of)[CardFraudWindows::kKnownLabels].frauds);
  }
  return values;
}

Row CardFraudGenerator::row(const CardTransaction& tx) {
  windows_.advance(tx.time);
  Row values{};
  const Present now = present(tx);
  const Past before = past(tx);
  static_assert(now.size() + before.size() + 1 == values.size());
  std::copy(before.begin(), before.end(), std::copy(now.begin(), now.end(), values.begin()));
  values.back() = tx.fraud ? 1 : 0;

  windows_.add(tx);
  LastPayment& last = last_[tx.customer];
  last.time = tx.time;
  if (!world_.terminals()[tx.terminal].online) last.terminal = tx.terminal;
  return values;
}

std::string CardFraudGenerator::contract_yaml() const {
  std::string text =
      "# Card payments of customers at terminals, in time order; about 2 % are fraud.\n"
      "# Windows (_1d, _7d, _30d) hold what happened strictly before the payment.\n"
      "version: 1\nfields:\n";
  for (const Column& column : kColumns) {
    text += fmt::format("  {}: {{dtype: {}, {}}}", column.name, to_string(column.dtype), column.rest);
    text += column.comment.empty() ? "\n" : fmt::format("  # {}\n", column.comment);
  }
  const auto date = [&](double share, std::int64_t more_days) {
    const auto day = static_cast<std::int64_t>(share * static_cast<double>(world_.days())) + more_days;
    return iso_time(static_cast<double>(CardFraudWorld::kStart + day * CardFraudWorld::kDay)).substr(0, 10);
  };
  text +=
      "never_features: [tx_time, customer_id, terminal_id]  # who and when do not tell what comes later\n"
      "# Later months are the test. The gap is the time that labels take: at the start of a split all labels "
      "of the\n"
      "# one before are known.\n";
  return text + fmt::format(
                    "splits:\n  by: time\n  field: tx_time\n  gap_seconds: {}\n  train: {{until: {}}}\n"
                    "  validation: {{from: {}, until: {}}}\n  test: {{from: {}}}\n",
                    CardFraudWindows::kLabelDelay, date(kTrainShare, 0), date(kTrainShare, kGapDays),
                    date(kValidationEnd, 0), date(kValidationEnd, kGapDays));
}

const bool kRegistered = generators().add(
    "card-fraud",
    {[](const GenerateOptions& options) { return std::make_unique<CardFraudGenerator>(options); },
     "card payments over months, in time order, 2 % fraud: binary label, split by time"});

}  // namespace
}  // namespace muster
