#include "data_loader/writing/table_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data_loader/contract/field_summary.h"
#include "data_loader/reading/partition_file.h"

namespace muster {

namespace fs = std::filesystem;

std::string csv_cell(std::string_view text) {
  const bool edge_blank = !text.empty() && (text.front() == ' ' || text.back() == ' ');
  if (!edge_blank && text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + "\"";
}

std::string csv_cell(const Field& field, const std::byte* value) {
  if (field.is_text()) return csv_cell(text_at(field, {value, field.value_bytes()}, 0));
  return visit(field.dtype, [&]<typename T>(T*) -> std::string {
    T number;
    std::memcpy(&number, value, sizeof(T));
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(number)) return "";
    }
    return fmt::format("{}", number);
  });
}

std::vector<std::string> csv_names(const Field& field) {
  if (field.shape.empty()) return {field.name};
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < field.values_per_row(); ++i)
    names.push_back(fmt::format("{}.{}", field.name, i));
  return names;
}

namespace {

/// Beside its place until it is whole: a crash leaves the temporary name, never half a file under the real
/// one.
class CsvTable : public TableWriter {
 public:
  CsvTable(FileSystem& files, fs::path path, std::vector<Field> fields)
      : files_(files),
        path_(std::move(path)),
        fields_(std::move(fields)),
        temporary_(path_.string() + ".tmp") {
    file_ = files_.create(temporary_);
    std::vector<std::string> names;
    for (const Field& field : fields_) {
      for (std::string& name : csv_names(field)) names.push_back(csv_cell(name));
    }
    file_->append(join(names, ",") + "\n");
  }
  CsvTable(const CsvTable&) = delete;
  CsvTable& operator=(const CsvTable&) = delete;
  ~CsvTable() override {
    if (published_) return;
    file_.reset();
    static_cast<void>(attempt([&] {
      files_.remove_all(temporary_);
      return 0;
    }));  // what cannot be removed has a name that nobody reads
  }

  void append(std::span<const std::span<const std::byte>> columns, std::uint64_t rows) override {
    std::string text;
    for (std::uint64_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < fields_.size(); ++i) {
        const std::byte* value = columns[i].data() + row * fields_[i].bytes_per_row();
        for (std::uint64_t k = 0; k < fields_[i].values_per_row(); ++k, value += fields_[i].value_bytes()) {
          if (i + k > 0) text += ',';
          text += csv_cell(fields_[i], value);
        }
      }
      text += '\n';
    }
    file_->append(text);
  }

  void close() override {
    file_->sync();
    file_.reset();
    files_.rename(temporary_, path_);
    published_ = true;
    files_.sync_directory(path_.has_parent_path() ? path_.parent_path() : ".");
  }

 private:
  FileSystem& files_;
  fs::path path_;
  std::vector<Field> fields_;
  fs::path temporary_;
  std::unique_ptr<WritableFile> file_;
  bool published_ = false;
};

class Hdf5Table : public TableWriter {
 public:
  Hdf5Table(const fs::path& path, const std::vector<Field>& fields)
      : writer_(path, fields, rows_per_chunk(fields), Codec::kNone) {}
  void append(std::span<const std::span<const std::byte>> columns, std::uint64_t rows) override {
    writer_.append(columns, rows);
  }
  void close() override { writer_.close(); }

 private:
  /// Fewer where rows are wide: a chunk is held in memory until it is full.
  static std::uint32_t rows_per_chunk(const std::vector<Field>& fields) {
    constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 20;
    constexpr std::uint64_t kMostRows = 8192;
    std::uint64_t widest = 1;
    for (const Field& field : fields) widest = std::max(widest, field.bytes_per_row());
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kMostBytes / widest, 1, kMostRows));
  }

  PartitionWriter writer_;
};

}  // namespace

std::unique_ptr<TableWriter> make_table_writer(FileSystem& files, const fs::path& path,
                                               const std::vector<Field>& fields) {
  const std::string ending = path.extension().string();
  if (ending == ".csv") return std::make_unique<CsvTable>(files, path, fields);
  if (ending == ".h5" || ending == ".hdf5") return std::make_unique<Hdf5Table>(path, fields);
  fail(ErrorCode::kUsage, "{} ends in neither .csv nor .h5 nor .hdf5", path.string());
}

}  // namespace muster
