#include "data_loader/dataset/leak_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <memory>

#include "core/error.h"
#include "core/hash.h"
#include "data_loader/contract/transform.h"

namespace muster {

namespace {

constexpr std::uint64_t kMostRows = 200'000;
constexpr std::uint64_t kMostNumberBytes = std::uint64_t{64} << 20;  // of one split, on every rank
constexpr std::uint64_t kMostReadBytes = std::uint64_t{1} << 30;     // decoded, over all ranks

bool is_category(const Field& field) {
  return field.is_text() ||
         (!field.transform.empty() && transforms().get(field.transform.back().name).categories);
}

/// Of a category's value: equal for equal values, exact as a double, never NaN.
double category_number(std::span<const std::byte> bytes) {
  return static_cast<double>((fnv1a(bytes) * 0x9e3779b97f4a7c15) >> 11);
}

double number_of(const Field& field, std::span<const std::byte> bytes) {
  constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
  if (field.is_text()) return bytes.front() == std::byte{0} ? kMissing : category_number(bytes);
  return visit(field.dtype, [&]<typename T>(T*) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    if (field.is_missing(value)) return kMissing;
    return is_category(field) ? category_number(bytes) : static_cast<double>(value);
  });
}

/// Makes the numbers of a block's rows, field by field.
class BlockSampler {
 public:
  BlockSampler(const Dataset& dataset, const LeakFields& fields)
      : dataset_(dataset), fields_(fields), reader_(dataset.make_reader()) {}

  void add(std::uint8_t split, std::uint32_t block, std::vector<std::uint64_t>& out) {
    rows_ = dataset_.row_index().rows_of(split, block);
    const std::size_t first = out.size();
    out.resize(first + rows_.size() * fields_.width(), kFnvStart);
    into_ = std::span(out).subspan(first);
    std::size_t place = fields_.first_scalar();
    for (const std::size_t input : fields_.inputs) {
      read(block, input);
      hash(input, fields_.hash_place());
      if (field(input).shape.empty()) put_numbers(input, place++);
    }
    for (std::size_t i = 0; i < fields_.labels.size(); ++i) {
      read(block, fields_.labels[i]);
      hash(fields_.labels[i], fields_.hash_place());
      put_numbers(fields_.labels[i], i);
    }
    for (const std::size_t array : fields_.arrays) {
      read(block, array);
      hash(array, fields_.hash_place());
    }
    for (const std::size_t key : fields_.keys) {
      read(block, key);
      hash(key, place++);
    }
    for (const KnownTime& known : fields_.known) put_lateness(block, known, place++);
  }

 private:
  const Field& field(std::size_t number) const { return dataset_.contract().fields()[number]; }
  std::uint64_t& at(std::size_t row, std::size_t place) { return into_[row * fields_.width() + place]; }

  void read(std::uint32_t block, std::size_t number) {
    column_.resize(dataset_.row_index().blocks()[block].rows * field(number).bytes_per_row());
    reader_->read(block, number, column_);
  }
  std::span<const std::byte> value(std::size_t number, std::size_t row) const {
    const std::uint64_t bytes = field(number).bytes_per_row();
    return std::span(column_).subspan(rows_[row] * bytes, bytes);
  }
  void hash(std::size_t number, std::size_t place) {
    for (std::size_t row = 0; row < rows_.size(); ++row)
      at(row, place) = fnv1a(value(number, row), at(row, place));
  }
  void put_numbers(std::size_t number, std::size_t place) {
    for (std::size_t row = 0; row < rows_.size(); ++row)
      at(row, place) = std::bit_cast<std::uint64_t>(number_of(field(number), value(number, row)));
  }

  void put_lateness(std::uint32_t block, const KnownTime& known, std::size_t place) {
    read(block, known.time);
    const std::vector<std::byte> times = column_;
    const std::uint64_t bytes = field(known.time).bytes_per_row();
    read(block, known.known_at);
    for (std::size_t row = 0; row < rows_.size(); ++row)
      at(row, place) = static_cast<std::uint64_t>(
          lateness(field(known.known_at), value(known.known_at, row), field(known.time),
                   std::span(times).subspan(rows_[row] * bytes, bytes)));
  }

  const Dataset& dataset_;
  const LeakFields& fields_;
  std::unique_ptr<BlockReader> reader_;
  std::vector<std::uint32_t> rows_;
  std::span<std::uint64_t> into_;
  std::vector<std::byte> column_;
};

}  // namespace

LeakFields LeakFields::of(const Contract& contract, const FieldChoice& choice) {
  LeakFields result;
  result.inputs = FeaturePipeline::select(contract, choice.features);
  result.known = known_times(contract, result.inputs);
  const std::vector<Field>& fields = contract.fields();
  for (const std::size_t label : FeaturePipeline::select_labels(contract, choice.labels))
    (fields[label].shape.empty() ? result.labels : result.arrays).push_back(label);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].role == Role::kKey && fields[i].shape.empty()) result.keys.push_back(i);
  }
  std::copy_if(result.inputs.begin(), result.inputs.end(), std::back_inserter(result.scalars),
               [&](std::size_t i) { return fields[i].shape.empty(); });
  return result;
}

std::vector<std::uint32_t> leak_blocks(const Dataset& dataset, const LeakFields& fields, std::uint8_t split) {
  std::uint64_t row_bytes = 0;
  for (const auto* read : {&fields.inputs, &fields.arrays}) {
    for (const std::size_t field : *read) row_bytes += dataset.contract().fields()[field].bytes_per_row();
  }
  for (const KnownTime& known : fields.known)
    row_bytes += dataset.contract().fields()[known.known_at].bytes_per_row() +
                 dataset.contract().fields()[known.time].bytes_per_row();
  const std::uint64_t most = std::min(
      {kMostRows, kMostNumberBytes / (sizeof(std::uint64_t) * std::max<std::uint64_t>(1, fields.width())),
       kMostReadBytes / std::max<std::uint64_t>(1, row_bytes)});
  const std::uint64_t all = dataset.row_index().rows(split);
  const double share = all <= most ? 1 : static_cast<double>(most) / static_cast<double>(all);
  const std::vector<std::uint32_t> rows = dataset.row_index().rows_per_block(split);
  std::vector<std::uint32_t> blocks;
  double due = 0;  // rows that may be taken by now
  for (std::uint32_t block = 0; block < rows.size(); ++block) {
    due += share * rows[block];
    if (rows[block] == 0 || due < rows[block]) continue;
    due -= rows[block];
    blocks.push_back(block);
  }
  return blocks;
}

std::vector<std::uint64_t> read_leak_rows(const Dataset& dataset, const LeakFields& fields,
                                          std::uint8_t split, std::span<const std::uint32_t> blocks,
                                          const std::function<void()>& before_block) {
  BlockSampler sampler(dataset, fields);
  std::vector<std::uint64_t> rows;
  for (const std::uint32_t block : blocks) {
    if (before_block) before_block();
    sampler.add(split, block, rows);
  }
  return rows;
}

LeakTable leak_table(const Contract& contract, const LeakFields& fields,
                     std::span<const std::uint64_t> rows) {
  LeakTable table;
  for (const std::size_t field : fields.scalars)
    table.features.push_back({contract.fields()[field].name, is_category(contract.fields()[field]), {}});
  for (std::size_t first = 0; first < rows.size(); first += fields.width()) {
    for (std::size_t i = 0; i < table.features.size(); ++i)
      table.features[i].values.push_back(std::bit_cast<double>(rows[first + fields.first_scalar() + i]));
  }
  if (!fields.labels.empty()) table.label = leak_label(fields, rows, 0);
  return table;
}

std::vector<double> leak_label(const LeakFields& fields, std::span<const std::uint64_t> rows,
                               std::size_t target) {
  std::vector<double> label;
  for (std::size_t first = 0; first < rows.size(); first += fields.width())
    label.push_back(std::bit_cast<double>(rows[first + target]));
  return label;
}

namespace {

/// Row number `row` of a sample as file:dataset[row].
std::string place_of(const Dataset& dataset, std::uint8_t split, std::span<const std::uint32_t> blocks,
                     std::size_t row, const Field& field) {
  for (const std::uint32_t number : blocks) {
    const std::vector<std::uint32_t> rows = dataset.row_index().rows_of(split, number);
    if (row >= rows.size()) {
      row -= rows.size();
      continue;
    }
    const Block& block = dataset.row_index().blocks()[number];
    const std::string file = (dataset.root() / dataset.manifest().partitions[block.partition].path).string();
    return fmt::format("{}:{}[{}]", file, field.path, block.first_row + rows[row]);
  }
  fail(ErrorCode::kBug, "row {} is beyond the sample", row);
}

}  // namespace

std::vector<LateCount> count_late(const Dataset& dataset, const LeakFields& fields,
                                  std::span<const std::uint64_t> rows, std::uint8_t split,
                                  std::span<const std::uint32_t> blocks) {
  std::vector<LateCount> counts;
  for (std::size_t i = 0; i < fields.known.size(); ++i) {
    LateCount& count = counts.emplace_back(LateCount{fields.known[i], 0, 0, 0, ""});
    for (std::size_t place = fields.first_known() + i; place < rows.size(); place += fields.width()) {
      const auto late = static_cast<Lateness>(rows[place]);
      if (late == Lateness::kLate && count.late++ == 0)
        count.first = place_of(dataset, split, blocks, count.rows,
                               dataset.contract().fields()[fields.known[i].known_at]);
      count.unknown += late == Lateness::kUnknown ? 1 : 0;
      ++count.rows;
    }
  }
  return counts;
}

SplitSide split_side(const std::string& split, const LeakFields& fields,
                     std::span<const std::uint64_t> rows) {
  SplitSide side{split, {}, std::vector<std::vector<std::uint64_t>>(fields.keys.size())};
  for (std::size_t first = 0; first < rows.size(); first += fields.width()) {
    side.rows.push_back(rows[first + fields.hash_place()]);
    for (std::size_t key = 0; key < fields.keys.size(); ++key)
      side.keys[key].push_back(rows[first + fields.first_key() + key]);
  }
  return side;
}

}  // namespace muster
