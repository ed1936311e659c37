// Ingest format "hdf5": datasets of foreign HDF5 files, members of compound ones too, as columns.
#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "core/text.h"
#include "data_loader/contract/value_conversion.h"
#include "data_loader/ingest/ingest.h"
#include "data_loader/reading/partition_list.h"
#include "data_loader/reading/probe.h"

namespace muster {
namespace {

/// Where a field's values lie in the files.
struct Place {
  std::string path;
  std::vector<std::string> member;
};

/// One entry of the spec's sources.
struct Hdf5Spec {
  std::vector<std::filesystem::path> files;
  std::map<std::string, Place> datasets;  ///< by field
};

std::vector<std::string> texts(const YamlNode& node) {
  if (!node.is_list()) return {node.as_string()};
  std::vector<std::string> all;
  for (const YamlNode& item : node.items()) all.push_back(item.as_string());
  return all;
}

Place parse_place(const YamlNode& node) {
  Place place;
  const YamlNode& path = node.is_map() ? node.require("dataset") : node;
  place.path = path.as_string();
  place.path.erase(0, place.path.find_first_not_of('/'));
  if (place.path.empty()) path.fail_here("is no path of a dataset in the file");
  if (!node.is_map()) return place;
  if (const YamlNode* member = node.find("member")) place.member = texts(*member);
  node.refuse_unread();
  return place;
}

Hdf5Spec parse_spec(const YamlNode& node, const IngestContext& context) {
  Hdf5Spec spec;
  const YamlNode& files = node.require("files");
  if (const YamlNode* datasets = node.find("datasets")) {
    for (const auto& entry : datasets->entries()) {
      const std::string& name = entry.first;  // clang 14 captures no structured binding
      const YamlNode& place = entry.second;
      const auto named = [&](const Field& field) { return field.name == name; };
      if (std::ranges::find(context.left_out, name) != context.left_out.end()) {
        static_cast<void>(parse_place(place));
        continue;
      }
      if (std::ranges::none_of(context.fields, named)) {
        std::vector<std::string> names;
        for (const Field& field : context.fields) names.push_back(field.name);
        place.fail_here(fmt::format("the contract has no field '{}'{}", name, did_you_mean(name, names)));
      }
      spec.datasets[name] = parse_place(place);
    }
  }
  node.refuse_unread();
  const std::vector<std::string> patterns = texts(files);
  if (patterns.empty()) files.fail_here("names no file");
  spec.files = matching_files(patterns, context.base);
  return spec;
}

/// Files of foreign HDF5, which muster-probe has opened first, read one after the other.
class Hdf5Source : public RowSource {
 public:
  Hdf5Source(const YamlNode& node, const IngestContext& context)
      : spec_(parse_spec(node, context)), fields_(context.fields) {
    for (const Field& field : fields_) {
      const auto given = spec_.datasets.find(field.name);
      places_.push_back(given != spec_.datasets.end() ? given->second : Place{field.path, field.member});
    }
    probe(context);
    for (const std::filesystem::path& path : spec_.files) {
      PartitionFile file(path);
      rows_of_.push_back(rows_of(file));
      rows_ += rows_of_.back();
    }
  }

  std::uint64_t rows() const override { return rows_; }
  const std::vector<Field>& fields() const override { return fields_; }
  std::vector<std::filesystem::path> files() const override { return spec_.files; }

  void read(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    for (std::size_t i = 0; i < fields_.size(); ++i) columns[i].resize(rows * fields_[i].bytes_per_row());
    for (std::uint64_t done = 0; done < rows;) {
      while (next_row_ == rows_of_[at_]) {
        ++at_;
        next_row_ = 0;
        open_.reset();
      }
      if (!open_) open();
      const std::uint64_t count = std::min(rows - done, rows_of_[at_] - next_row_);
      for (std::size_t i = 0; i < fields_.size(); ++i) {
        const std::uint64_t bytes = fields_[i].bytes_per_row();
        read_field(i, count, std::span(columns[i]).subspan(done * bytes, count * bytes));
      }
      next_row_ += count;
      done += count;
    }
  }

 private:
  void probe(const IngestContext& context) const {
    if (context.probe.empty()) return;
    for (const auto& answer : probe_files(context.probe, spec_.files)) {
      if (!answer.ok()) throw answer.error();
    }
  }

  /// The field as this file has it. Error{kData} if it is none of what the contract can be made of.
  Field stored(PartitionFile& file, std::size_t i) const {
    const Field& field = fields_[i];
    const DatasetLayout found = file.layout(places_[i].path, places_[i].member);
    const std::string at = fmt::format("{}:{}", file.path().string(), found.location());
    Field stored = field;
    stored.path = places_[i].path;
    stored.member = places_[i].member;
    if (!found.dtype || (*found.dtype == DType::kString) != field.is_text())
      throw Error(ErrorCode::kData,
                  fmt::format("is {}, of which no {} for '{}' can be made", found.type_name,
                              to_string(field.dtype), field.name),
                  at);
    stored.dtype = *found.dtype;
    if (field.is_text()) stored.length = std::max(field.length, found.text_bytes);
    return stored;
  }

  std::uint64_t rows_of(PartitionFile& file) const {
    std::optional<std::uint64_t> rows;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const Field field = stored(file, i);
      const std::uint64_t count = file.check_field(field);
      if (!rows) rows = count;
      if (*rows != count)
        throw Error(ErrorCode::kData,
                    fmt::format("has {} rows, '{}' has {}", count, fields_.front().name, *rows),
                    fmt::format("{}:{}", file.path().string(), field.location()));
    }
    return rows.value_or(0);
  }

  void open() {
    open_.emplace(spec_.files[at_]);
    stored_.clear();
    for (std::size_t i = 0; i < fields_.size(); ++i) stored_.push_back(stored(*open_, i));
  }

  void read_field(std::size_t i, std::uint64_t rows, std::span<std::byte> out) {
    const Field& field = fields_[i];
    const Field& stored = stored_[i];
    const bool same = stored.dtype == field.dtype && stored.length == field.length;
    if (same) return open_->read_rows(stored, next_row_, rows, out);
    scratch_.resize(rows * stored.bytes_per_row());
    open_->read_rows(stored, next_row_, rows, scratch_);
    const std::optional<std::size_t> bad =
        field.is_text() ? shorten(stored, out, field) : convert_numbers(stored.dtype, scratch_, field, out);
    if (!bad) return;
    throw Error(ErrorCode::kData,
                field.is_text()
                    ? fmt::format("is longer than the {} bytes of '{}'", field.length, field.name)
                    : fmt::format("cannot be a {} of '{}' without loss", to_string(field.dtype), field.name),
                fmt::format("{}:{}[{}]", open_->path().string(), stored.location(),
                            next_row_ + *bad / field.values_per_row()));
  }

  /// Copies padded texts into shorter places; the first that does not fit.
  std::optional<std::size_t> shorten(const Field& stored, std::span<std::byte> out,
                                     const Field& field) const {
    for (std::size_t row = 0; row * field.length < out.size(); ++row) {
      const auto text = std::span(scratch_).subspan(row * stored.length, stored.length);
      const auto rest = text.subspan(field.length);
      if (std::ranges::any_of(rest, [](std::byte b) { return b != std::byte{0}; })) return row;
      std::memcpy(out.data() + row * field.length, text.data(), field.length);
    }
    return std::nullopt;
  }

  Hdf5Spec spec_;
  std::vector<Field> fields_;
  std::vector<Place> places_;           ///< per field
  std::vector<std::uint64_t> rows_of_;  ///< per file
  std::uint64_t rows_ = 0;
  std::size_t at_ = 0;          ///< the file that is read
  std::uint64_t next_row_ = 0;  ///< of it
  std::optional<PartitionFile> open_;
  std::vector<Field> stored_;  ///< the fields as the open file has them
  std::vector<std::byte> scratch_;
};

const bool kRegistered =
    ingest_formats().add("hdf5", {[](const YamlNode& source, const IngestContext& context) {
                                    return std::make_unique<Hdf5Source>(source, context);
                                  },
                                  "datasets of HDF5 files in any layout, members of compound ones too"});

}  // namespace
}  // namespace muster
