#include "data_loader/manifest/source_record.h"

#include <algorithm>
#include <array>
#include <fstream>

#include "core/error.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "muster sources";
constexpr const char* kFile = "sources.json";

SourceFile hash_file(const fs::path& path, const fs::path& base) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  const fs::path below = fs::absolute(path).lexically_relative(fs::absolute(base));
  const bool inside = !below.empty() && *below.begin() != "..";
  SourceFile source;
  source.name = (inside ? below : path.filename()).string();
  std::ifstream stream(path, std::ios::binary);
  std::vector<char> piece(kPiece);
  Sha256Hasher hasher;
  while (stream) {
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const auto got = static_cast<std::size_t>(stream.gcount());
    hasher.update(std::as_bytes(std::span(piece).first(got)));
    source.bytes += got;
  }
  if (!stream.eof()) throw Error(ErrorCode::kStorage, "cannot be read to its end", path.string());
  source.content = hasher.finish();
  return source;
}

}  // namespace

std::vector<SourceFile> hash_sources(std::span<const fs::path> files, const fs::path& base) {
  std::vector<SourceFile> sources;
  for (const fs::path& file : files) sources.push_back(hash_file(file, base));
  return sources;
}

Json sources_to_json(std::span<const IngestRecord> records) {
  Json list = Json::array();
  for (const IngestRecord& record : records) {
    Json files = Json::array();
    for (const SourceFile& file : record.files)
      files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.content.hex()}});
    list.push_back({{"rows", record.rows}, {"partitions", record.partitions}, {"files", std::move(files)}});
  }
  return list;
}

std::vector<IngestRecord> sources_from_json(const Json& json, const std::string& where) {
  if (!json.is_array()) throw Error(ErrorCode::kStorage, "'ingests' is not a list", where);
  std::vector<IngestRecord> records;
  for (const Json& entry : json) {
    IngestRecord record;
    record.rows = member<std::uint64_t>(entry, "rows", where);
    record.partitions = member<std::vector<std::string>>(entry, "partitions", where);
    for (const Json& file : member<std::vector<Json>>(entry, "files", where)) {
      record.files.push_back({member<std::string>(file, "name", where),
                              member<std::uint64_t>(file, "bytes", where),
                              Sha256::from_hex(member<std::string>(file, "sha256", where))});
    }
    records.push_back(std::move(record));
  }
  return records;
}

std::vector<IngestRecord> load_sources(FileSystem& files, const fs::path& directory) {
  const fs::path path = directory / kFile;
  if (!files.exists(path)) return {};
  const std::string where = path.string();
  const Json json = parse_json(files.read_text(path), where);
  if (member<std::string>(json, "format", where) != kFormat ||
      member<std::uint64_t>(json, "version", where) != 1)
    throw Error(ErrorCode::kStorage, "is no list of sources that this program reads", where);
  return sources_from_json(member<Json>(json, "ingests", where), where);
}

void save_sources(FileSystem& files, const fs::path& directory, std::span<const IngestRecord> records) {
  const Json json = {{"format", kFormat}, {"version", 1}, {"ingests", sources_to_json(records)}};
  files.replace(directory / kFile, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

bool is_partition_name(std::string_view name) {
  constexpr std::string_view kStart = "part-";
  constexpr std::string_view kEnd = ".h5";
  constexpr std::size_t kDigits = 5;
  if (name.size() != kStart.size() + kDigits + kEnd.size() || !name.starts_with(kStart) ||
      !name.ends_with(kEnd))
    return false;
  return std::ranges::all_of(name.substr(kStart.size(), kDigits),
                             [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace muster
