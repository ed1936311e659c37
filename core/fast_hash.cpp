#include "core/fast_hash.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL  // the header alone: nothing to link
#include <xxhash.h>

namespace muster {

struct FastHasher::State {
  XXH3_state_t hash;
};

FastHasher::FastHasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->hash); }
FastHasher::~FastHasher() = default;
FastHasher::FastHasher(FastHasher&&) noexcept = default;

FastHasher& FastHasher::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(&state_->hash, bytes.data(), bytes.size());
  return *this;
}

std::string FastHasher::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(&state_->hash);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::array<std::uint64_t, 2> fast_hash(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

}  // namespace muster
