#include "data_loader/contract/token_window.h"

#include <cstring>

#include "core/error.h"

namespace muster {

std::uint64_t TokenWindow::rows(std::uint64_t tokens) const {
  return tokens < width() ? 0 : (tokens - width()) / stride + 1;
}

std::uint64_t TokenWindow::span(std::uint64_t rows) const {
  return rows == 0 ? 0 : (rows - 1) * stride + width();
}

std::uint64_t TokenWindow::left_over(std::uint64_t tokens) const { return tokens - span(rows(tokens)); }

void TokenWindow::spread(std::span<std::byte> out, std::uint64_t rows, std::size_t token_bytes) const {
  ensure(out.size() == rows * width() * token_bytes, "{} windows of {} tokens in {} bytes", rows, width(),
         out.size());
  // A window never lies behind the tokens it is made of, as stride <= width: from front to back no token is
  // written over before its last use.
  const std::byte* tokens = out.data() + (out.size() - span(rows) * token_bytes);
  const std::size_t bytes = width() * token_bytes;
  for (std::uint64_t row = 0; row < rows; ++row)
    std::memmove(out.data() + row * bytes, tokens + row * stride * token_bytes, bytes);
}

}  // namespace muster
