#pragma once
// SHA-256 for content, a 128-bit mixing hash for digests of samples.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace muster {

/// A SHA-256 value.
struct Sha256 {
  std::array<std::uint8_t, 32> bytes{};

  std::string hex() const;
  /// From 64 hexadecimal digits; throws Error{kStorage} for anything else.
  static Sha256 from_hex(std::string_view hex);
  auto operator<=>(const Sha256&) const = default;
};

/// Incremental SHA-256 (FIPS 180-4, by OpenSSL). Not thread-safe.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(Sha256Hasher&&) noexcept;
  Sha256Hasher& operator=(Sha256Hasher&&) noexcept;

  Sha256Hasher& update(std::span<const std::byte> bytes);
  Sha256Hasher& update(std::string_view text);
  /// The hash of all updates; the hasher then starts anew.
  Sha256 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Sha256 sha256(std::span<const std::byte> bytes);
Sha256 sha256(std::string_view text);

/// An unsigned 128-bit number that wraps: sums of sample hashes.
struct Digest {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  Digest& operator+=(const Digest& other) {
    low += other.low;
    high += other.high + (low < other.low ? 1 : 0);
    return *this;
  }
  /// 32 hexadecimal digits, high half first.
  std::string hex() const;
  static Digest from_hex(std::string_view hex);
  auto operator<=>(const Digest&) const = default;
};

/// FNV-1a, 64 bits (Fowler, Noll, Vo), going on from `hash`. Its low bits alone are poor: mix them.
constexpr std::uint64_t kFnvStart = 0xcbf29ce484222325;
std::uint64_t fnv1a(std::span<const std::byte> bytes, std::uint64_t hash = kFnvStart);

/// The share of one sample in the digest of its step: two independent chains of the SplitMix64 finaliser
/// (Steele, Lea, Flood 2014) over partition, row and position.
Digest sample_hash(std::uint64_t partition, std::uint64_t row, std::uint64_t position);

/// The running digest after a step: the first 128 bits of SHA-256(running ‖ step), big-endian.
Digest chain(const Digest& running, const Digest& step);

}  // namespace muster
