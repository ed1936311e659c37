#include "trainer/checkpoint/checkpoint_part.h"

#include <future>

#include "core/hash.h"
#include "core/text.h"

namespace muster {
namespace {

/// Takes the bytes of a file only to stamp them.
class Stamper : public WritableFile {
 public:
  void append(std::span<const std::byte> bytes) override {
    hasher_.update(bytes);
    size_ += bytes.size();
  }
  using WritableFile::append;
  void sync() override {}
  FileStamp stamp() { return {size_, hasher_.finish().hex()}; }

 private:
  Sha256Hasher hasher_;
  std::uint64_t size_ = 0;
};

void write_content(WritableFile& out, const CheckpointFile& file) {
  if (file.name.ends_with(".safetensors")) {
    write_safetensors(out, file.tensors, {{"format", "pt"}});
  } else {
    out.append(file.text);
  }
}

constexpr std::uint64_t kWorthAThread = std::uint64_t{1} << 20;

std::uint64_t bytes_in(const CheckpointFile& file) {
  std::uint64_t bytes = file.text.size();
  for (const TensorBlob& tensor : file.tensors) bytes += tensor.data.size();
  return bytes;
}

void check_room(FileSystem& files, const std::filesystem::path& draft, std::uint64_t needed) {
  const std::uint64_t free = files.free_bytes(draft);
  if (free >= needed) return;
  throw Error(ErrorCode::kStorage,
              fmt::format("No space left on device for a checkpoint: it needs {}, {} are free",
                          human_bytes(needed), human_bytes(free)),
              draft.string());
}

}  // namespace

Json to_json(const FileStamps& stamps) {
  Json json = Json::object();
  for (const auto& [name, stamp] : stamps) json[name] = {{"size", stamp.size}, {"sha256", stamp.sha256}};
  return json;
}

/// The hash is of what is meant. It is made beside the writing where that is worth a thread: both run at
/// their own speed.
FileStamp write_file(FileSystem& files, const std::filesystem::path& path, const CheckpointFile& file) {
  const bool large = bytes_in(file) >= kWorthAThread;
  auto hash = std::async(large ? std::launch::async : std::launch::deferred, [&] {
    Stamper stamper;
    write_content(stamper, file);
    return stamper.stamp();
  });
  const auto out = files.create(path);
  write_content(*out, file);
  out->sync();
  return hash.get();
}

void check_file(FileSystem& files, const std::filesystem::path& path, const FileStamp& stamp,
                bool from_disk) {
  Stamper there;
  files.read_pieces(path, from_disk, [&](std::span<const std::byte> piece) { there.append(piece); });
  const FileStamp found = there.stamp();
  if (found.size != stamp.size) {
    throw Error(ErrorCode::kStorage,
                fmt::format("is damaged: it has {} bytes, {} belong there", found.size, stamp.size),
                path.string());
  }
  if (found.sha256 != stamp.sha256) {
    throw Error(ErrorCode::kStorage, "is damaged: its content does not fit its SHA-256", path.string());
  }
}

FileStamps write_part(FileSystem& files, const std::filesystem::path& draft, const CheckpointPart& part) {
  check_room(files, draft, part.checkpoint_bytes);
  files.make_directories(draft);
  FileStamps stamps;
  for (const CheckpointFile& file : part.files) {
    stamps[file.name] = write_file(files, draft / file.name, file);
  }
  files.sync_directory(draft);
  for (const auto& [name, stamp] : stamps) check_file(files, draft / name, stamp, true);
  return stamps;
}

}  // namespace muster
