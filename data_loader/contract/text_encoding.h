#pragma once
// Texts of other encodings to UTF-8.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// Converts from one encoding in which ASCII characters are their own bytes (latin1, windows-1252, …), so
/// that delimiters and quotes are found before. One thread at a time.
class TextEncoding {
 public:
  /// A name that iconv knows. Error{kConfig}, without a place, for unknown ones, and for those in which ASCII
  /// is not itself (UTF-16, EBCDIC).
  explicit TextEncoding(const std::string& name);
  ~TextEncoding();
  TextEncoding(TextEncoding&&) noexcept;
  TextEncoding& operator=(TextEncoding&&) noexcept;

  /// Nothing if the bytes are no text of the encoding.
  std::optional<std::string> to_utf8(std::string_view text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
