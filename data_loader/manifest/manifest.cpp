#include "data_loader/manifest/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

namespace muster {

namespace {

constexpr const char* kFormat = "muster manifest";
constexpr std::uint64_t kVersion = 1;

std::uint64_t natural(const Json& object, const char* key, const std::string& where) {
  const Json value = member<Json>(object, key, where);
  if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<std::int64_t>() < 0)) {
    throw Error(ErrorCode::kStorage, fmt::format("'{}' is not a natural number", key), where);
  }
  return value.get<std::uint64_t>();
}

Sha256 hash_member(const Json& object, const char* key, const std::string& where) {
  const auto text = member<std::string>(object, key, where);
  try {
    return Sha256::from_hex(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::kStorage, fmt::format("'{}': {}", key, error.message()), where);
  }
}

/// What the fingerprint covers.
Json identity(const Manifest& manifest) {
  Json partitions = Json::array();
  for (const Partition& partition : manifest.partitions) {
    partitions.push_back({{"name", partition.name},
                          {"rows", partition.rows},
                          {"block_rows", partition.block_rows},
                          {"content", partition.content.hex()}});
  }
  return {{"partitions", std::move(partitions)},
          {"contract", manifest.contract.hex()},
          {"row_index", manifest.row_index.hex()}};
}

Partition partition_from(const Json& json, const std::string& where) {
  Partition partition;
  partition.name = member<std::string>(json, "name", where);
  partition.path = member<std::string>(json, "path", where);
  partition.rows = natural(json, "rows", where);
  const std::uint64_t block_rows = natural(json, "block_rows", where);
  partition.content = hash_member(json, "content", where);
  if (partition.name.empty() || partition.path.empty())
    throw Error(ErrorCode::kStorage, "a partition has no name", where);
  if (block_rows == 0 || block_rows > std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorCode::kStorage, fmt::format("{}: block_rows cannot be {}", partition.name, block_rows),
                where);
  }
  partition.block_rows = static_cast<std::uint32_t>(block_rows);
  return partition;
}

std::uint64_t blocks_of(const Partition& partition) {
  return partition.rows / partition.block_rows + (partition.rows % partition.block_rows != 0 ? 1 : 0);
}

}  // namespace

Sha256 Manifest::fingerprint() const { return sha256(canonical(identity(*this))); }

std::vector<Block> Manifest::blocks() const {
  std::vector<Block> blocks;
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    const Partition& partition = partitions[i];
    for (std::uint64_t first = 0; first < partition.rows; first += partition.block_rows) {
      const std::uint64_t rows = std::min<std::uint64_t>(partition.block_rows, partition.rows - first);
      blocks.push_back({static_cast<std::uint32_t>(i), first, static_cast<std::uint32_t>(rows)});
    }
  }
  return blocks;
}

std::uint64_t Manifest::rows() const {
  std::uint64_t rows = 0;
  for (const Partition& partition : partitions) rows += partition.rows;
  return rows;
}

Json Manifest::to_json() const {
  Json json = identity(*this);
  for (std::size_t i = 0; i < partitions.size(); ++i) json["partitions"][i]["path"] = partitions[i].path;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["fingerprint"] = fingerprint().hex();
  if (!sources.empty()) json["sources"] = sources_to_json(sources);
  return json;
}

Manifest Manifest::from_json(const Json& json, const std::string& where) {
  const auto refuse = [&](const std::string& message) { throw Error(ErrorCode::kStorage, message, where); };
  if (member<std::string>(json, "format", where) != kFormat) refuse("is no Muster manifest");
  if (const std::uint64_t version = natural(json, "version", where); version != kVersion) {
    refuse(fmt::format("has format version {}, this program reads {}", version, kVersion));
  }
  Manifest manifest;
  manifest.contract = hash_member(json, "contract", where);
  manifest.row_index = hash_member(json, "row_index", where);
  if (json.contains("sources")) manifest.sources = sources_from_json(json.at("sources"), where);
  std::set<std::string> names;
  std::uint64_t blocks = 0;
  std::uint64_t rows = 0;
  const Json partitions = member<Json>(json, "partitions", where);
  if (!partitions.is_array()) refuse("'partitions' is not a list");
  for (const Json& entry : partitions) {
    Partition partition = partition_from(entry, where);
    if (!names.insert(partition.name).second)
      refuse(fmt::format("the partition '{}' is listed twice", partition.name));
    if (__builtin_add_overflow(rows, partition.rows, &rows)) refuse("has more rows than 64 bits count");
    if (__builtin_add_overflow(blocks, blocks_of(partition), &blocks)) refuse("has too many blocks");
    manifest.partitions.push_back(std::move(partition));
  }
  if (blocks > std::numeric_limits<std::uint32_t>::max())
    refuse(fmt::format("has too many blocks ({})", blocks));
  if (manifest.fingerprint() != hash_member(json, "fingerprint", where)) {
    refuse("its fingerprint does not match its content: it was edited or damaged");
  }
  return manifest;
}

}  // namespace muster
