// Generator "subwords": a stream over a vocabulary as large as a language model's, with a known entropy.
#include <array>
#include <cstring>

#include "core/random.h"
#include "data_loader/generators/generator.h"

namespace muster {
namespace {

constexpr std::uint64_t kSymbols = 50257;  // as many as GPT-2's tokenizer has
constexpr std::uint64_t kWindow = 1024;    // and what its models look back at

/// A Markov chain: after each symbol four others can come, with probabilities 1/2, 1/4, 1/8, 1/8. Which ones
/// is keyed by the symbol, so that no table of them is held.
class SubwordsGenerator : public RowGenerator {
 public:
  explicit SubwordsGenerator(const GenerateOptions& options) : seed_(options.seed) {}

  std::string contract_yaml() const override {
    return fmt::format(
        "# A stream of {0} symbols, numbered as they come, cut into windows of {2} as GPT-2's are. What "
        "comes\n"
        "# next depends on the symbol before, with an entropy of 1.75 bits (1.2130 nats) a token.\n"
        "version: 1\n"
        "fields:\n"
        "  tokens: {{dtype: uint16, range: [0, {1}], window: {{length: {2}, stride: {2}}}, transform: ids}}\n"
        "splits: {{by: order, train: 0.8, validation: 0.1, test: 0.1}}\n",
        kSymbols, kSymbols - 1, kWindow);
  }

  void next(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    columns[0].resize(rows * sizeof(std::uint16_t));
    for (std::uint64_t row = 0; row < rows; ++row) {
      constexpr std::array<std::uint64_t, 8> kChoice = {0, 0, 0, 0, 1, 1, 2, 3};
      RandomStream stream(random_key(seed_, Purpose::kGenerate, {row_++}));
      const std::uint64_t choice = kChoice[stream.below(kChoice.size())];
      last_ = random_key(seed_, Purpose::kGenerate, {last_, kSymbols + choice}) % kSymbols;
      const auto token = static_cast<std::uint16_t>(last_);
      std::memcpy(columns[0].data() + row * sizeof token, &token, sizeof token);
    }
  }

 private:
  std::uint64_t seed_;
  std::uint64_t row_ = 0;
  std::uint64_t last_ = 0;
};

const bool kRegistered = generators().add(
    "subwords", {[](const GenerateOptions& options) { return std::make_unique<SubwordsGenerator>(options); },
                 "a stream of tokens (a row is one token) of a language model's vocabulary, 50,257"});

}  // namespace
}  // namespace muster
