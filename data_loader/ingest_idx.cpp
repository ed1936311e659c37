// Ingest format "idx": one IDX file per field, gzip-compressed or not.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "data_loader/idx_header.h"
#include "data_loader/ingest.h"

namespace muster {
namespace {

/// A file read front to back, unpacked on the way if it is gzip (zlib finds out).
class GzipFile {
 public:
  explicit GzipFile(std::filesystem::path path)
      : path_(std::move(path)), file_(::gzopen(path_.c_str(), "rb"), &::gzclose) {
    if (!file_)
      throw Error(ErrorCode::kStorage, fmt::format("cannot open: {}", std::strerror(errno)), path_.string());
    ::gzbuffer(file_.get(), 1U << 17);
  }

  const std::filesystem::path& path() const { return path_; }
  /// Bytes read so far, unpacked.
  std::uint64_t offset() const { return offset_; }

  /// Fills `out` as far as the file goes; the number of bytes.
  std::size_t read(std::span<std::byte> out) {
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

 private:
  [[noreturn]] void refuse() {
    int state = Z_OK;
    const std::string cause = ::gzerror(file_.get(), &state);
    if (state == Z_ERRNO)
      throw Error(ErrorCode::kStorage, fmt::format("cannot read: {}", std::strerror(errno)), path_.string());
    throw Error(ErrorCode::kData,
                fmt::format("is damaged gzip after {} unpacked bytes ({}): fetch it again", offset_,
                            state == Z_BUF_ERROR ? "it is cut off" : cause),
                path_.string());
  }

  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  std::uint64_t offset_ = 0;
};

/// One field's file.
class IdxColumn {
 public:
  IdxColumn(std::string name, std::filesystem::path path) : file_(std::move(path)) {
    // The header, and no byte more: its length is in its fourth byte.
    std::array<std::byte, IdxHeader::kMostBytes> head{};
    std::size_t got = file_.read(std::span(head).first(4));
    if (got == 4) {
      const std::size_t dimensions = std::to_integer<std::size_t>(head[3]);
      got += file_.read(std::span(head).subspan(4, 4 * std::min<std::size_t>(dimensions, 8)));
    }
    header_ = parse_idx_header(std::span(head).first(got), file_.path().string());
    field_.path = field_.name = std::move(name);
    field_.dtype = header_.dtype;
    field_.shape = header_.shape;
    if (header_.rows == 0) check_end();
  }

  const Field& field() const { return field_; }
  std::uint64_t rows() const { return header_.rows; }
  std::string path() const { return file_.path().string(); }

  void read(std::uint64_t rows, std::vector<std::byte>& column) {
    column.resize(rows * header_.bytes_per_row());
    if (file_.read(column) < column.size()) {
      throw Error(
          ErrorCode::kData,
          fmt::format("ends at offset {}; its header announces {} rows, {} bytes in all: fetch it again",
                      file_.offset(), header_.rows, whole_size()),
          path());
    }
    to_native(column);
    if (file_.offset() == whole_size()) check_end();
  }

 private:
  std::uint64_t whole_size() const { return header_.bytes() + header_.rows * header_.bytes_per_row(); }

  void check_end() {
    std::byte more{};
    if (file_.read(std::span(&more, 1)) == 0) return;
    throw Error(
        ErrorCode::kData,
        fmt::format(
            "goes on at offset {} after the {} rows that its header announces: it is not what it says",
            whole_size(), header_.rows),
        path());
  }

  void to_native(std::vector<std::byte>& column) const {
    const std::size_t size = size_of(header_.dtype);
    if (size == 1) return;
    for (std::size_t at = 0; at < column.size(); at += size) {
      const auto first = column.begin() + static_cast<std::ptrdiff_t>(at);
      std::reverse(first, first + static_cast<std::ptrdiff_t>(size));
    }
  }

  GzipFile file_;
  IdxHeader header_;
  Field field_;
};

class IdxSource : public RowSource {
 public:
  IdxSource(const YamlNode& source, const std::filesystem::path& base) {
    const YamlNode& files = source.require("files");
    for (const auto& [name, path] : files.entries()) {
      columns_.emplace_back(name, base / path.as_string());
      fields_.push_back(columns_.back().field());
      const auto& first = columns_.front();
      if (columns_.back().rows() != first.rows()) {
        path.fail_here(fmt::format("{} has {} rows and {} has {}: they are no parts of the same data",
                                   columns_.back().path(), columns_.back().rows(), first.path(),
                                   first.rows()));
      }
    }
    if (columns_.empty()) files.fail_here("names no file; give `field: file` for each");
  }

  std::uint64_t rows() const override { return columns_.front().rows(); }
  const std::vector<Field>& fields() const override { return fields_; }

  void read(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    for (std::size_t i = 0; i < columns_.size(); ++i) columns_[i].read(rows, columns[i]);
  }

 private:
  std::vector<IdxColumn> columns_;
  std::vector<Field> fields_;
};

const bool kRegistered =
    ingest_formats().add("idx", {[](const YamlNode& source, const std::filesystem::path& base) {
                                   return std::make_unique<IdxSource>(source, base);
                                 },
                                 "IDX files (MNIST and its kin), one per field, gzip-compressed or not"});

}  // namespace
}  // namespace muster
