// Ingest format "idx": one IDX file per field, gzip-compressed or not.
#include <algorithm>
#include <array>

#include "data_loader/ingest/gzip_file.h"
#include "data_loader/ingest/idx_header.h"
#include "data_loader/ingest/ingest.h"

namespace muster {
namespace {

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
  IdxSource(const YamlNode& source, const IngestContext& context) {
    const YamlNode& files = source.require("files");
    for (const auto& [name, path] : files.entries()) {
      const std::string file = path.as_string();
      if (std::ranges::find(context.left_out, name) != context.left_out.end()) continue;
      columns_.emplace_back(name, context.base / file);
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
  std::vector<std::filesystem::path> files() const override {
    std::vector<std::filesystem::path> files;
    for (const IdxColumn& column : columns_) files.emplace_back(column.path());
    return files;
  }

  void read(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    for (std::size_t i = 0; i < columns_.size(); ++i) columns_[i].read(rows, columns[i]);
  }

 private:
  std::vector<IdxColumn> columns_;
  std::vector<Field> fields_;
};

const bool kRegistered =
    ingest_formats().add("idx", {[](const YamlNode& source, const IngestContext& context) {
                                   return std::make_unique<IdxSource>(source, context);
                                 },
                                 "IDX files (MNIST and its kin), one per field, gzip-compressed or not"});

}  // namespace
}  // namespace muster
