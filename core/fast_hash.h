#pragma once
// A hash for finding accidents in gigabytes, not for safety against anybody: XXH3, 128 bits.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace muster {

class FastHasher {
 public:
  FastHasher();
  ~FastHasher();
  FastHasher(FastHasher&&) noexcept;

  FastHasher& update(std::span<const std::byte> bytes);
  /// Of all updates so far: 32 lower-case hexadecimal digits.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The same of bytes at hand, in two words.
std::array<std::uint64_t, 2> fast_hash(std::span<const std::byte> bytes);

}  // namespace muster
