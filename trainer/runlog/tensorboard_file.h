#pragma once
// An event file as TensorBoard reads it. Format: docs/tensorboard.md.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/file_system.h"
#include "trainer/runlog/histogram.h"
#include "trainer/runlog/proto_message.h"

namespace muster {

/// CRC-32C as TFRecord stores it: rotated and shifted, so that a checksum over checksums stays one.
std::uint32_t masked_crc32c(std::string_view bytes);

/// One TFRecord: length (8 bytes), its masked CRC, the bytes, theirs.
std::string tf_record(std::string_view bytes);

/// A name for the next file in a run's directory. TensorBoard reads files in the order of their names, which
/// begin with the seconds since 1970: never fewer than in a name that is there, whatever the clock says.
std::string tensorboard_file_name(FileSystem& files, const std::filesystem::path& directory,
                                  std::uint64_t generation);

/// Writes one file; every call is one append of whole records. One thread. Throws Error{kStorage}.
class TensorBoardFile {
 public:
  /// Creates the file.
  TensorBoardFile(FileSystem& files, const std::filesystem::path& file);

  /// A restart: readers drop what earlier files say of this step and later ones.
  void start(std::uint64_t step);
  /// Tags are UTF-8; what stands before the first '/' is a group.
  void scalars(std::uint64_t step, std::span<const std::pair<std::string, double>> values);
  void text(std::uint64_t step, std::string_view tag, std::string_view markdown);
  void histograms(std::uint64_t step, std::span<const NamedHistogram> histograms);
  void sync();

 private:
  /// An Event with this field beside time and step.
  void write(std::uint64_t step, std::uint32_t field, const ProtoMessage& message);

  std::unique_ptr<WritableFile> file_;
};

}  // namespace muster
