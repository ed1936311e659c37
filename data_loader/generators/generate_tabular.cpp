// Generator "tabular": numeric features and a number to predict, bent and with interactions.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "core/random.h"
#include "data_loader/generators/generator.h"

namespace muster {
namespace {

constexpr std::size_t kFeatures = 12;
constexpr double kMissing = 0.08;  // of the values of every third feature
constexpr double kNoise = 0.5;     // standard deviation of what no feature explains

void put(float value, std::uint64_t row, std::vector<std::byte>& column) {
  std::memcpy(column.data() + row * sizeof value, &value, sizeof value);
}

/// Friedman's first function (1991) on five of the features, with a sixth that switches it over.
double target_of(std::span<const double> x) {
  const double wave = 10 * std::sin(std::numbers::pi * x[0] * x[1]);
  const double bend = 20 * (x[2] - 0.5) * (x[2] - 0.5);
  return (x[5] > 0.5 ? wave : bend) + 10 * x[3] + 5 * x[4];
}

class TabularGenerator : public RowGenerator {
 public:
  explicit TabularGenerator(const GenerateOptions& options) : seed_(options.seed) {}

  std::string contract_yaml() const override {
    std::string text = fmt::format(
        "# Features are uniform in [0, 1]. The target's noise has a standard deviation of {:g}: the RMSE of "
        "a perfect\n"
        "# model on rows where nothing is missing.\n"
        "version: 1\nfields:\n",
        kNoise);
    for (std::size_t i = 0; i < kFeatures; ++i) {
      text += fmt::format("  x{}: {{dtype: float32, range: [0, 1]{}}}\n", i,
                          i % 3 == 2 ? ", missing: indicator" : "");
    }
    return text +
           "  target: {dtype: float32, role: label}\n"
           "splits: {by: fraction, seed: 1, train: 0.7, validation: 0.15, test: 0.15}\n";
  }

  void next(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    for (std::vector<std::byte>& column : columns) column.resize(rows * sizeof(float));
    for (std::uint64_t r = 0; r < rows; ++r) {
      RandomStream stream(random_key(seed_, Purpose::kGenerate, {row_++}));
      std::array<double, kFeatures> x{};
      for (std::size_t i = 0; i < kFeatures; ++i) {
        x[i] = stream.uniform();
        const bool missing = i % 3 == 2 && stream.uniform() < kMissing;
        put(missing ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(x[i]), r, columns[i]);
      }
      put(static_cast<float>(target_of(x) + kNoise * stream.normal()), r, columns[kFeatures]);
    }
  }

 private:
  std::uint64_t seed_;
  std::uint64_t row_ = 0;
};

const bool kRegistered = generators().add(
    "tabular", {[](const GenerateOptions& options) { return std::make_unique<TabularGenerator>(options); },
                "twelve numeric features, some missing, and a number to predict, split at random"});

}  // namespace
}  // namespace muster
