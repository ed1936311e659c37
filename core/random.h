#pragma once
// Randomness as a function of where it is used: no generator state exists, so none has to be saved.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace muster {

/// The SplitMix64 finaliser with its increment (Steele, Lea, Flood 2014): a bijection of 64-bit numbers.
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// What a random number is for. Numbers are part of the on-disk promise (same seed, same run): never
/// renumber.
enum class Purpose : std::uint64_t {
  kBlockOrder = 1,
  kWindowOrder = 2,
  kSplit = 3,
  kStartWeights = 4,
  kDropout = 5,
  kAugment = 6,
  kGenerate = 7,
  kIngestShuffle = 8,
  kBootstrap = 9,
  kCategoryHash = 10,
  kLeakGuard = 11,
};

/// The key of one stream of random numbers: a 64-bit hash of (seed, purpose, coordinates…).
constexpr std::uint64_t random_key(std::uint64_t seed, Purpose purpose,
                                   std::initializer_list<std::uint64_t> coordinates) {
  std::uint64_t key = mix(mix(seed) ^ static_cast<std::uint64_t>(purpose));
  for (const std::uint64_t coordinate : coordinates) key = mix(key ^ mix(coordinate + 0x632be59bd9b4e019U));
  return key;
}

/// Philox4x32-10 (Salmon et al., SC'11): four random 32-bit words for (key, counter).
std::array<std::uint32_t, 4> philox(std::uint64_t key, std::uint64_t counter_low,
                                    std::uint64_t counter_high = 0);

/// A reader over the Philox numbers of one key. Copyable; satisfies UniformRandomBitGenerator.
class RandomStream {
 public:
  using result_type = std::uint64_t;
  explicit RandomStream(std::uint64_t key) : key_(key) {}

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()();

  /// Uniform in [0, bound), bound > 0, without bias (Lemire 2019).
  std::uint64_t below(std::uint64_t bound);
  /// Uniform in [0, 1) with 53 bits.
  double uniform();
  /// Normal with mean 0 and variance 1 (Box-Muller; the same on every platform's libm to the last few bits).
  double normal();
  /// Exponential with mean 1.
  double exponential();

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
  std::array<std::uint64_t, 2> words_{};
  int left_ = 0;
};

/// Permutes `items` by Fisher-Yates with the numbers of `key`.
template <typename T>
void shuffle(std::span<T> items, std::uint64_t key) {
  RandomStream stream(key);
  for (std::size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[static_cast<std::size_t>(stream.below(i))]);
  }
}

}  // namespace muster
