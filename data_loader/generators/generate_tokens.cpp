// Generator "tokens": a stream whose next token depends on the two before it, with a known entropy.
#include <array>
#include <cstring>
#include <numeric>

#include "core/random.h"
#include "data_loader/generators/generator.h"

namespace muster {
namespace {

constexpr std::size_t kSymbols = 8;

/// A Markov chain of order 2. After each pair of symbols four others can come, with probabilities 1/2, 1/4,
/// 1/8, 1/8, so that every step has an entropy of 1.75 bits whatever came before.
class TokensGenerator : public RowGenerator {
 public:
  explicit TokensGenerator(const GenerateOptions& options) : seed_(options.seed) {
    for (std::size_t pair = 0; pair < next_.size(); ++pair) {
      std::iota(next_[pair].begin(), next_[pair].end(), std::uint8_t{0});
      shuffle(std::span<std::uint8_t>(next_[pair]), random_key(seed_, Purpose::kGenerate, {pair, kSymbols}));
    }
  }

  std::string contract_yaml() const override {
    return fmt::format(
        "# A stream of {0} symbols, cut into windows. What comes next depends on the two symbols before, "
        "with an\n"
        "# entropy of 1.75 bits (1.2130 nats) a token: no model gets below that loss, one that looks back "
        "at\n"
        "# both symbols gets close.\n"
        "version: 1\n"
        "fields:\n"
        "  tokens: {{dtype: uint8, range: [0, {1}], window: {{length: 64, stride: 64}}}}\n"
        "splits: {{by: order, train: 0.8, validation: 0.1, test: 0.1}}\n",
        kSymbols, kSymbols - 1);
  }

  void next(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    columns[0].resize(rows);
    for (std::byte& token : columns[0]) {
      constexpr std::array<std::size_t, 8> kChoice = {0, 0, 0, 0, 1, 1, 2, 3};
      RandomStream stream(random_key(seed_, Purpose::kGenerate, {row_++}));
      const std::uint8_t symbol = next_[pair_][kChoice[stream.below(kChoice.size())]];
      pair_ = pair_ % kSymbols * kSymbols + symbol;
      token = std::byte{symbol};
    }
  }

 private:
  std::uint64_t seed_;
  std::uint64_t row_ = 0;
  std::size_t pair_ = 0;  ///< the last two symbols
  /// After each pair: all symbols, of which the first four can come.
  std::array<std::array<std::uint8_t, kSymbols>, kSymbols * kSymbols> next_{};
};

const bool kRegistered = generators().add(
    "tokens", {[](const GenerateOptions& options) { return std::make_unique<TokensGenerator>(options); },
               "a stream of tokens (a row is one token) whose next one depends on the two before it"});

}  // namespace
}  // namespace muster
