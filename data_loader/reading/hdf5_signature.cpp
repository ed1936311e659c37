#include "data_loader/reading/hdf5_signature.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace muster::hdf5 {
namespace {

using namespace std::string_view_literals;

constexpr auto kSignature = "\x89HDF\r\n\x1a\n"sv;
constexpr std::size_t kHead = 512;  ///< bytes looked at to name a foreign file; more than any superblock

/// A descriptor for looking at a file's first bytes.
class Peek {
 public:
  explicit Peek(const std::filesystem::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) fail_errno();
    if (::fstat(descriptor_, &status_) != 0) {
      const int cause = errno;
      ::close(descriptor_);
      errno = cause;
      fail_errno();
    }
  }
  ~Peek() { ::close(descriptor_); }
  Peek(const Peek&) = delete;
  Peek& operator=(const Peek&) = delete;

  bool regular() const { return S_ISREG(status_.st_mode); }
  std::uint64_t size() const { return static_cast<std::uint64_t>(status_.st_size); }
  /// Up to `bytes` bytes from `offset`; fewer at the end of the file.
  std::string read(std::uint64_t offset, std::size_t bytes) const {
    std::string content(bytes, '\0');
    const ::ssize_t got = ::pread(descriptor_, content.data(), bytes, static_cast<::off_t>(offset));
    if (got < 0) fail_errno();
    content.resize(static_cast<std::size_t>(got));
    return content;
  }

 private:
  [[noreturn]] void fail_errno() const {
    throw Error(ErrorCode::kStorage, fmt::format("cannot read: {}", std::strerror(errno)), path_.string());
  }
  const std::filesystem::path& path_;
  int descriptor_;
  struct stat status_ {};
};

/// Little-endian number of `bytes` bytes; nothing past the end, or if all bits are set (HDF5's "undefined").
std::optional<std::uint64_t> number(std::string_view text, std::size_t at, std::size_t bytes) {
  if (bytes > 8 || at + bytes > text.size()) return std::nullopt;
  std::uint64_t value = 0;
  bool undefined = true;
  for (std::size_t i = 0; i < bytes; ++i) {
    const auto byte = static_cast<unsigned char>(text[at + i]);
    value |= std::uint64_t{byte} << (8 * i);
    undefined = undefined && byte == 0xFF;
  }
  return undefined ? std::nullopt : std::optional(value);
}

/// The "end of file address" of a superblock (HDF5 File Format Specification 3.0, II.A): how long the file
/// must be.
std::optional<std::uint64_t> declared_end(std::string_view superblock) {
  if (superblock.size() < 24) return std::nullopt;
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(superblock[at]); };
  const unsigned version = byte(8);
  if (version > 3) return std::nullopt;
  const std::size_t offset_size = version < 2 ? byte(13) : byte(9);
  const std::size_t addresses = version == 0 ? 24 : version == 1 ? 28 : 12;
  return number(superblock, addresses + 2 * offset_size, offset_size);  // after base and one more address
}

bool starts_with_letters(std::string_view text, std::string_view lower_case) {
  return text.size() >= lower_case.size() &&
         std::equal(lower_case.begin(), lower_case.end(), text.begin(), [](char expected, char found) {
           return expected == (found >= 'A' && found <= 'Z' ? found - 'A' + 'a' : found);
         });
}

bool is_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 || c == '\n' || c == '\r' || c == '\t';
  });
}

struct Kind {
  std::string_view start;
  std::string_view name;
};

constexpr std::array kBinaryKinds{
    Kind{"\x1f\x8b"sv, "is gzip-compressed: unpack it first (gunzip)"},
    Kind{"PK\x03\x04"sv, "is a zip archive (or .npz): unpack it and ingest what is inside"},
    Kind{"\x28\xb5\x2f\xfd"sv, "is zstd-compressed: unpack it first (unzstd)"},
    Kind{"\xfd"
         "7zXZ"sv,
         "is xz-compressed: unpack it first (unxz)"},
    Kind{"PAR1"sv, "is a Parquet file, not HDF5: ingest it"},
    Kind{"\x93NUMPY"sv, "is a NumPy array (.npy), not HDF5: ingest it"},
    Kind{"CDF"sv, "is a classic netCDF file: rewrite it as netCDF-4, which is HDF5 (nccopy -k nc4)"},
    Kind{"\x0e\x03\x13\x01"sv, "is an HDF4 file: convert it to HDF5 (h4toh5)"},
};

}  // namespace

std::string describe_foreign(std::span<const std::byte> head) {
  const std::string_view bytes(reinterpret_cast<const char*>(head.data()), head.size());
  if (bytes.empty()) return "is empty (0 bytes): copy or generate it again";
  if (bytes.starts_with("version https://git-lfs")) {
    return "is a git-lfs pointer, not the data: run `git lfs pull` where it came from";
  }
  for (const Kind& kind : kBinaryKinds) {
    if (bytes.starts_with(kind.start)) return std::string(kind.name);
  }
  const std::string_view text = trim(bytes);
  if (starts_with_letters(text, "<!doctype html") || starts_with_letters(text, "<html")) {
    return "is an HTML page (a login or error page saved by a download?): fetch the data again";
  }
  if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; })) {
    return "starts with zeros only (a copy that failed?), not an HDF5 file: copy it again";
  }
  if (is_text(bytes)) return "is text (CSV?), not an HDF5 file: ingest it";
  return "is not an HDF5 file";
}

void require_hdf5(const std::filesystem::path& path) {
  const Peek file(path);
  if (!file.regular()) throw Error(ErrorCode::kStorage, "is not a regular file", path.string());
  // The superblock may follow a user block of 512, 1024, 2048, … bytes.
  std::uint64_t at = 0;
  while (at < file.size() && file.read(at, kSignature.size()) != kSignature) at = at == 0 ? 512 : 2 * at;
  if (at >= file.size()) {
    const std::string head = file.read(0, kHead);
    throw Error(ErrorCode::kData, describe_foreign(std::as_bytes(std::span(head))), path.string());
  }
  const std::optional<std::uint64_t> end = declared_end(file.read(at, kHead));
  if (end && *end > file.size()) {
    throw Error(ErrorCode::kData,
                fmt::format("is truncated: {} bytes, at least {} expected: copy or generate it again",
                            file.size(), *end),
                path.string());
  }
}

}  // namespace muster::hdf5
