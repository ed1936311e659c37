#include "core/hash.h"

#include <openssl/evp.h>

#include <cstring>

#include "core/error.h"
#include "core/random.h"

namespace muster {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

std::string to_hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

void from_hex_into(std::string_view hex, std::span<std::uint8_t> out) {
  if (hex.size() != out.size() * 2) {
    fail(ErrorCode::kStorage, "a hash of {} hexadecimal digits was expected, found {}", out.size() * 2,
         hex.size());
  }
  const auto digit = [&](char c) -> std::uint8_t {
    if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
    fail(ErrorCode::kStorage, "'{}' is not a lower-case hexadecimal digit of a hash", c);
  };
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
}

std::array<std::uint8_t, 16> big_endian(const Digest& digest) {
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(digest.high >> (56 - 8 * i));
    bytes[i + 8] = static_cast<std::uint8_t>(digest.low >> (56 - 8 * i));
  }
  return bytes;
}

Digest from_big_endian(std::span<const std::uint8_t> bytes) {
  Digest digest;
  for (std::size_t i = 0; i < 8; ++i) {
    digest.high = digest.high << 8 | bytes[i];
    digest.low = digest.low << 8 | bytes[i + 8];
  }
  return digest;
}

}  // namespace

std::string Sha256::hex() const { return to_hex(bytes); }

Sha256 Sha256::from_hex(std::string_view hex) {
  Sha256 hash;
  from_hex_into(hex, hash.bytes);
  return hash;
}

struct Sha256Hasher::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() {
    if (context == nullptr || EVP_DigestInit_ex(context, EVP_sha256(), nullptr) != 1) {
      fail(ErrorCode::kBug, "OpenSSL gives no SHA-256");
    }
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Sha256Hasher::Sha256Hasher() : state_(std::make_unique<State>()) {}
Sha256Hasher::~Sha256Hasher() = default;
Sha256Hasher::Sha256Hasher(Sha256Hasher&&) noexcept = default;
Sha256Hasher& Sha256Hasher::operator=(Sha256Hasher&&) noexcept = default;

Sha256Hasher& Sha256Hasher::update(std::span<const std::byte> bytes) {
  ensure(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1, "SHA-256 update failed");
  return *this;
}

Sha256Hasher& Sha256Hasher::update(std::string_view text) {
  return update(std::as_bytes(std::span(text.data(), text.size())));
}

Sha256 Sha256Hasher::finish() {
  Sha256 hash;
  ensure(EVP_DigestFinal_ex(state_->context, hash.bytes.data(), nullptr) == 1 &&
             EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1,
         "SHA-256 final failed");
  return hash;
}

Sha256 sha256(std::span<const std::byte> bytes) { return Sha256Hasher().update(bytes).finish(); }
Sha256 sha256(std::string_view text) { return Sha256Hasher().update(text).finish(); }

std::string Digest::hex() const { return to_hex(big_endian(*this)); }

Digest Digest::from_hex(std::string_view hex) {
  std::array<std::uint8_t, 16> bytes{};
  from_hex_into(hex, bytes);
  return from_big_endian(bytes);
}

std::uint64_t fnv1a(std::span<const std::byte> bytes, std::uint64_t hash) {
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
  return hash;
}

Digest sample_hash(std::uint64_t partition, std::uint64_t row, std::uint64_t position) {
  const auto run = [&](std::uint64_t start) { return mix(mix(mix(start ^ partition) ^ row) ^ position); };
  return {run(0x9e3779b97f4a7c15U), run(0xd1b54a32d192ed03U)};
}

Digest chain(const Digest& running, const Digest& step) {
  const auto before = big_endian(running);
  const auto added = big_endian(step);
  Sha256Hasher hasher;
  hasher.update(std::as_bytes(std::span(before))).update(std::as_bytes(std::span(added)));
  return from_big_endian(hasher.finish().bytes);
}

}  // namespace muster
