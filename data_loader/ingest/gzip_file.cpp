#include "data_loader/ingest/gzip_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace muster {

namespace {

/// Opening a named pipe would wait for a writer, for ever.
::gzFile open_regular(const std::filesystem::path& path) {
  std::error_code unknown;
  const auto status = std::filesystem::status(path, unknown);
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status))
    return ::gzopen(path.c_str(), "rb");
  throw Error(ErrorCode::kStorage, "is not a regular file", path.string());
}

}  // namespace

GzipFile::GzipFile(std::filesystem::path path)
    : path_(std::move(path)), file_(open_regular(path_), &::gzclose) {
  if (!file_)
    throw Error(ErrorCode::kStorage, fmt::format("cannot open: {}", std::strerror(errno)), path_.string());
  ::gzbuffer(file_.get(), 1U << 17);
}

std::size_t GzipFile::read(std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto wanted = static_cast<unsigned>(std::min<std::size_t>(out.size() - done, 1U << 30));
    const int got = ::gzread(file_.get(), out.data() + done, wanted);
    if (got < 0) refuse();
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
    offset_ += static_cast<std::uint64_t>(got);
  }
  // A gzip file that is cut off ends like a whole one, but for this mark.
  int state = Z_OK;
  ::gzerror(file_.get(), &state);
  if (done < out.size() && state != Z_OK && state != Z_STREAM_END) refuse();
  return done;
}

void GzipFile::refuse() {
  int state = Z_OK;
  const std::string cause = ::gzerror(file_.get(), &state);
  if (state == Z_ERRNO)
    throw Error(ErrorCode::kStorage, fmt::format("cannot read: {}", std::strerror(errno)), path_.string());
  throw Error(ErrorCode::kData,
              fmt::format("is damaged gzip after {} unpacked bytes ({}): fetch it again", offset_,
                          state == Z_BUF_ERROR ? "it is cut off" : cause),
              path_.string());
}

}  // namespace muster
