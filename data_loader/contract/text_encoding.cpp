#include "data_loader/contract/text_encoding.h"

#include <iconv.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "core/error.h"

namespace muster {

struct TextEncoding::State {
  explicit State(const std::string& name) : converter(::iconv_open("UTF-8", name.c_str())) {}
  ~State() {
    if (valid()) ::iconv_close(converter);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  bool valid() const { return reinterpret_cast<std::intptr_t>(converter) != -1; }

  iconv_t converter;
};

TextEncoding::TextEncoding(const std::string& name) : state_(std::make_unique<State>(name)) {
  if (!state_->valid())
    fail(ErrorCode::kConfig, "there is no encoding '{}'; `iconv -l` lists them, like latin1, windows-1252",
         name);
  std::string ascii;
  for (char c = ' '; c < '\x7f'; ++c) ascii += c;
  if (to_utf8(ascii) != ascii)
    fail(ErrorCode::kConfig,
         "in '{}' ASCII characters are not their own bytes: convert the file to UTF-8 first (iconv)", name);
}

TextEncoding::~TextEncoding() = default;
TextEncoding::TextEncoding(TextEncoding&&) noexcept = default;
TextEncoding& TextEncoding::operator=(TextEncoding&&) noexcept = default;

std::optional<std::string> TextEncoding::to_utf8(std::string_view text) {
  ::iconv(state_->converter, nullptr, nullptr, nullptr, nullptr);  // as at a text's start
  std::string source(text);                                        // iconv takes no const
  char* in = source.data();
  std::size_t in_left = source.size();
  std::string result;
  std::array<char, 256> piece;
  while (in_left > 0) {
    char* out = piece.data();
    std::size_t out_left = piece.size();
    const std::size_t done = ::iconv(state_->converter, &in, &in_left, &out, &out_left);
    result.append(piece.data(), piece.size() - out_left);
    if (done == static_cast<std::size_t>(-1) && errno != E2BIG) return std::nullopt;
  }
  return result;
}

}  // namespace muster
