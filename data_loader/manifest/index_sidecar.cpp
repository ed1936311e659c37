#include "data_loader/manifest/index_sidecar.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "data_loader/manifest/byte_io.h"

namespace muster {

namespace {

constexpr std::string_view kMagic = "MUSTINDX";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kEndBytes = 64 * 1024;

struct FileFacts {
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
};

FileFacts facts_in(const struct stat& status) {
  return {static_cast<std::uint64_t>(status.st_size),
          std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

FileFacts facts_of(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    throw Error(
        missing ? ErrorCode::kData : ErrorCode::kStorage,
        missing ? "the partition is missing" : fmt::format("cannot be read ({})", std::strerror(errno)),
        file.string());
  }
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::kData, "is no regular file", file.string());
  return facts_in(status);
}

Sha256 ends_of(const std::filesystem::path& file, std::uint64_t size) {
  std::ifstream in(file, std::ios::binary);
  const std::uint64_t length = std::min(size, kEndBytes);
  std::string ends(2 * length, '\0');
  const auto half = static_cast<std::streamsize>(length);
  in.read(ends.data(), half);
  in.seekg(static_cast<std::streamoff>(size - length));
  in.read(ends.data() + length, half);
  if (!in) throw Error(ErrorCode::kStorage, "cannot be read to its end", file.string());
  return sha256(ends);
}

}  // namespace

PartitionStamp PartitionStamp::of(const std::filesystem::path& file) {
  const FileFacts facts = facts_of(file);
  return {facts.size, facts.modified_ns, ends_of(file, facts.size)};
}

PartitionStamp::Match PartitionStamp::match(const std::filesystem::path& file) const {
  const FileFacts facts = facts_of(file);
  if (facts.size != size) return Match::kOther;
  if (facts.modified_ns == modified_ns) return Match::kSame;
  return ends_of(file, size) == ends ? Match::kNewTime : Match::kOther;
}

bool PartitionStamp::vouches_for(const std::filesystem::path& file) const {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return false;
  const FileFacts facts = facts_in(status);
  return facts.size == size && facts.modified_ns == modified_ns;
}

std::vector<std::byte> IndexSidecar::serialize() const {
  ByteWriter out(kMagic, kVersion);
  out.hash(fingerprint);
  out.u32(static_cast<std::uint32_t>(fields.size()));
  for (const std::string& name : fields) out.text(name);
  out.u32(static_cast<std::uint32_t>(partitions.size()));
  for (const Entry& entry : partitions) {
    ensure(!fields.empty() && entry.blocks.size() % fields.size() == 0,
           "a sidecar entry has {} hashes for {} fields", entry.blocks.size(), fields.size());
    out.u64(entry.stamp.size);
    out.u64(static_cast<std::uint64_t>(entry.stamp.modified_ns));
    out.hash(entry.stamp.ends);
    out.u64(entry.blocks.size() / fields.size());
    for (const Sha256& hash : entry.blocks) out.hash(hash);
  }
  return std::move(out).finish();
}

IndexSidecar IndexSidecar::deserialize(std::span<const std::byte> bytes, const std::string& where) {
  ByteReader in(bytes, kMagic, kVersion, where);
  IndexSidecar sidecar;
  sidecar.fingerprint = in.hash();
  const std::uint32_t fields = in.u32();
  if (fields == 0) in.damaged("it names no field");
  for (std::uint32_t i = 0; i < fields; ++i) sidecar.fields.push_back(in.text());
  const std::uint32_t partitions = in.u32();
  for (std::uint32_t i = 0; i < partitions; ++i) {
    Entry entry;
    entry.stamp.size = in.u64();
    entry.stamp.modified_ns = static_cast<std::int64_t>(in.u64());
    entry.stamp.ends = in.hash();
    const std::uint64_t blocks = in.u64();
    if (blocks > in.left() / 32 / fields) in.damaged("it ends too early");
    entry.blocks.reserve(blocks * fields);
    for (std::uint64_t block = 0; block < blocks * fields; ++block) entry.blocks.push_back(in.hash());
    sidecar.partitions.push_back(std::move(entry));
  }
  in.finish();
  return sidecar;
}

}  // namespace muster
