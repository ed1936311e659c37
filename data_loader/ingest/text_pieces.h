#pragma once
// A text file as pieces of UTF-8, or of bytes.

#include <filesystem>
#include <optional>
#include <string>

#include "data_loader/contract/text_encoding.h"
#include "data_loader/ingest/gzip_file.h"
#include "data_loader/ingest/text_tokenizer.h"

namespace muster {

/// Front to back, unpacked if it is gzip, in bounded memory: 256 KiB of UTF-8 or bytes; a line at least, of
/// 16 MiB at most, where another encoding is converted. A UTF-8 byte order mark is dropped. One thread.
class TextPieces {
 public:
  /// What the file's bytes are; `name` is iconv's.
  struct Encoding {
    enum class Kind { kBytes, kUtf8, kOther };
    Kind kind = Kind::kUtf8;
    std::string name;
  };
  /// Error{kStorage} if it cannot be opened, Error{kConfig} for an unknown encoding.
  TextPieces(std::filesystem::path path, const Encoding& encoding);

  /// The next piece of whole characters; "" only at the end. Error{kData} with file:line:column for what is
  /// no text of the encoding.
  std::string next();

 private:
  void fill();
  std::string next_utf8();
  std::string next_converted();
  [[noreturn]] void refuse(const std::string& before, const std::string& message);

  GzipFile file_;
  Encoding::Kind kind_;
  std::optional<TextEncoding> encoding_;
  std::string buffer_;  ///< read and not given yet
  bool at_end_ = false;
  bool started_ = false;
  TextPosition position_;  ///< of the buffer's front
};

}  // namespace muster
