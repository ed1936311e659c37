#include "trainer/leak_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/text.h"
#include "data_loader/feature_pipeline.h"
#include "data_loader/transform.h"
#include "trainer/agreement.h"

namespace muster {
namespace {

constexpr std::uint64_t kMostRows = 200'000;

/// Blocks of a split with at most kMostRows rows in all, evenly spread.
std::vector<std::uint32_t> sampled_blocks(const RowIndex& index, std::uint8_t split) {
  const std::vector<std::uint32_t> rows = index.rows_per_block(split);
  const std::uint64_t all = index.rows(split);
  const std::uint64_t every = std::max<std::uint64_t>(1, (all + kMostRows - 1) / kMostRows);
  std::vector<std::uint32_t> blocks;
  std::uint64_t number = 0;
  for (std::uint32_t block = 0; block < rows.size(); ++block) {
    if (rows[block] > 0 && number++ % every == 0) blocks.push_back(block);
  }
  return blocks;
}

std::uint64_t hash_of(std::span<const std::byte> bytes, std::uint64_t hash) {
  for (const std::byte byte : bytes) hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
  return hash;
}

/// Of a category's value: equal for equal values, exact as a double, never NaN.
double category_number(std::span<const std::byte> bytes) {
  const std::uint64_t hash = hash_of(bytes, 0xcbf29ce484222325) * 0x9e3779b97f4a7c15;
  return static_cast<double>(hash >> 11);
}

bool is_category(const Field& field) {
  return field.is_text() || (!field.transform.empty() && (field.transform.back().name == "category" ||
                                                          field.transform.back().name == "hash"));
}

/// What one rank reads: per row the label, the scalar features, a hash of all features and the label, and a
/// hash of each key.
class Sampler {
 public:
  Sampler(const Dataset& dataset, const std::vector<std::string>& features)
      : dataset_(dataset), reader_(dataset.make_reader()) {
    inputs_ = FeaturePipeline::select(dataset.contract(), features);
    const auto& fields = dataset.contract().fields();
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].role == Role::kLabel) label_ = i;
      if (fields[i].role == Role::kKey && fields[i].shape.empty()) keys_.push_back(i);
    }
    std::copy_if(inputs_.begin(), inputs_.end(), std::back_inserter(scalars_),
                 [&](std::size_t i) { return fields[i].shape.empty(); });
  }

  const std::vector<std::size_t>& scalars() const { return scalars_; }
  const std::vector<std::size_t>& keys() const { return keys_; }
  /// Numbers of 8 bytes per row.
  std::size_t width() const { return 2 + scalars_.size() + keys_.size(); }

  void add(std::uint8_t split, std::uint32_t block, std::vector<std::uint64_t>& out) {
    const std::vector<std::uint32_t> rows = dataset_.row_index().rows_of(split, block);
    const std::size_t first = out.size();
    out.resize(first + rows.size() * width(), 0xcbf29ce484222325);
    const auto at = [&](std::size_t row, std::size_t column) -> std::uint64_t& {
      return out[first + row * width() + column];
    };
    std::vector<std::size_t> hashed = inputs_;
    hashed.push_back(label_);
    for (const std::size_t field : hashed) {
      const std::vector<std::byte> column = read(block, field);
      for (std::size_t i = 0; i < rows.size(); ++i)
        at(i, 1) = hash_of(value(column, field, rows[i]), at(i, 1));
      if (field == label_) put_numbers(column, field, rows, 0, at);
      const auto scalar = std::find(scalars_.begin(), scalars_.end(), field);
      if (scalar != scalars_.end())
        put_numbers(column, field, rows, 2 + static_cast<std::size_t>(scalar - scalars_.begin()), at);
    }
    for (std::size_t key = 0; key < keys_.size(); ++key) {
      const std::vector<std::byte> column = read(block, keys_[key]);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::uint64_t& hash = at(i, 2 + scalars_.size() + key);
        hash = hash_of(value(column, keys_[key], rows[i]), hash);
      }
    }
  }

 private:
  const Field& field(std::size_t number) const { return dataset_.contract().fields()[number]; }

  std::vector<std::byte> read(std::uint32_t block, std::size_t number) {
    std::vector<std::byte> column(dataset_.row_index().blocks()[block].rows * field(number).bytes_per_row());
    reader_->read(block, number, column);
    return column;
  }

  std::span<const std::byte> value(const std::vector<std::byte>& column, std::size_t number,
                                   std::uint32_t row) const {
    const std::uint64_t bytes = field(number).bytes_per_row();
    return std::span(column).subspan(row * bytes, bytes);
  }

  template <typename At>
  void put_numbers(const std::vector<std::byte>& column, std::size_t number,
                   const std::vector<std::uint32_t>& rows, std::size_t place, const At& at) {
    const Field& spec = field(number);
    for (std::size_t i = 0; i < rows.size(); ++i)
      at(i, place) = std::bit_cast<std::uint64_t>(number_of(spec, value(column, number, rows[i])));
  }

  static double number_of(const Field& spec, std::span<const std::byte> bytes) {
    constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
    if (spec.is_text()) return bytes.front() == std::byte{0} ? kMissing : category_number(bytes);
    return visit(spec.dtype, [&]<typename T>(T*) {
      T value;
      std::memcpy(&value, bytes.data(), sizeof value);
      if (spec.is_missing(value)) return kMissing;
      return is_category(spec) ? category_number(bytes) : static_cast<double>(value);
    });
  }

  const Dataset& dataset_;
  std::unique_ptr<BlockReader> reader_;
  std::vector<std::size_t> inputs_;
  std::vector<std::size_t> scalars_;
  std::vector<std::size_t> keys_;
  std::size_t label_ = 0;
};

/// Collective. All sampled rows of a split, in order: every rank reads a run of the blocks.
std::vector<std::uint64_t> gather_rows(Communicator& comm, const Dataset& dataset, const std::string& name,
                                       const std::vector<std::string>& features) {
  const auto mine = together(comm, "leak guard", [&] {
    Sampler sampler(dataset, features);
    const std::uint8_t split = dataset.row_index().split(name);
    const std::vector<std::uint32_t> blocks = sampled_blocks(dataset.row_index(), split);
    const auto rank = static_cast<std::size_t>(comm.rank());
    const auto world = static_cast<std::size_t>(comm.size());
    std::vector<std::uint64_t> rows;
    for (std::size_t i = blocks.size() * rank / world; i < blocks.size() * (rank + 1) / world; ++i)
      sampler.add(split, blocks[i], rows);
    return rows;
  });
  std::vector<std::uint64_t> all;
  for (const auto& bytes : comm.all_gather("leak guard rows", std::as_bytes(std::span(mine)))) {
    const std::size_t before = all.size();
    all.resize(before + bytes.size() / sizeof(std::uint64_t));
    if (!bytes.empty()) std::memcpy(all.data() + before, bytes.data(), bytes.size());
  }
  return all;
}

SplitSide side_of(const std::string& split, const std::vector<std::uint64_t>& rows, const Sampler& sampler) {
  SplitSide side{split, {}, std::vector<std::vector<std::uint64_t>>(sampler.keys().size())};
  for (std::size_t first = 0; first < rows.size(); first += sampler.width()) {
    side.rows.push_back(rows[first + 1]);
    for (std::size_t key = 0; key < sampler.keys().size(); ++key)
      side.keys[key].push_back(rows[first + 2 + sampler.scalars().size() + key]);
  }
  return side;
}

LeakTable table_of(const std::vector<std::uint64_t>& rows, const Sampler& sampler, const Contract& contract) {
  LeakTable table;
  for (const std::size_t field : sampler.scalars())
    table.features.push_back({contract.fields()[field].name, is_category(contract.fields()[field]), {}});
  for (std::size_t first = 0; first < rows.size(); first += sampler.width()) {
    table.label.push_back(std::bit_cast<double>(rows[first]));
    for (std::size_t i = 0; i < table.features.size(); ++i)
      table.features[i].values.push_back(std::bit_cast<double>(rows[first + 2 + i]));
  }
  return table;
}

}  // namespace

LeakReport check_leaks(Communicator& comm, const Dataset& dataset, const std::string& split,
                       const std::string& other, const std::vector<std::string>& features) {
  const std::vector<std::uint64_t> train = gather_rows(comm, dataset, split, features);
  const std::vector<std::uint64_t> beside =
      other.empty() ? std::vector<std::uint64_t>() : gather_rows(comm, dataset, other, features);
  const Sampler sampler(dataset, features);
  const LeakTable table = table_of(train, sampler, dataset.contract());
  LeakReport report;
  report.rows = table.label.size();
  report.scores = score_features(table);
  report.findings = find_lone_predictors(table);
  const auto add = [&](std::vector<LeakFinding> more) {
    report.findings.insert(report.findings.end(), more.begin(), more.end());
  };
  add(find_sums(table));
  if (!other.empty()) {
    std::vector<std::string> keys;
    for (const std::size_t key : sampler.keys()) keys.push_back(dataset.contract().fields()[key].name);
    const auto* fractions = std::get_if<FractionSplit>(&dataset.contract().splits());
    add(find_shared(side_of(split, train, sampler), side_of(other, beside, sampler), keys,
                    fractions != nullptr && fractions->key.empty()));
  }
  return report;
}

void apply_leak_policy(Communicator& comm, const LeakReport& report, const std::string& policy,
                       const LogSink& log) {
  if (comm.rank() == 0 && !report.scores.empty()) {
    std::vector<std::string> best;
    for (std::size_t i = 0; i < std::min<std::size_t>(3, report.scores.size()); ++i)
      best.push_back(fmt::format("{} {:.3f}", report.scores[i].name, report.scores[i].auc));
    log(LogLevel::kInfo, fmt::format("leak guard: {} rows; best features alone, by AUC: {}",
                                     human_count(report.rows), join(best, ", ")));
  }
  if (report.findings.empty()) return;
  for (const LeakFinding& finding : report.findings) {
    if (comm.rank() == 0) log(LogLevel::kWarning, "leak? " + finding.message);
  }
  if (policy == "warn") return;
  throw AgreedError(
      Error(ErrorCode::kData,
            fmt::format(
                "{} ({} sign{} of a leak): leave the feature out (never_features, data.features), mend the "
                "split, or say `data.leaks: warn` if it is right",
                report.findings.front().message, report.findings.size(),
                report.findings.size() == 1 ? "" : "s")),
      comm.rank() == 0);
}

}  // namespace muster
