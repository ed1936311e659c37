// "buckets": the number of the quantile interval that a value lies in, an id.

#include <algorithm>

#include "data_loader/contract/transform.h"

namespace muster {

namespace {

class Buckets : public Transform {
 public:
  /// Id i: edges[i-1] <= x < edges[i]. A missing value that is not imputed has an id of its own, the last.
  Buckets(const Field& field, std::vector<double> edges)
      : own_id_(field.missing == Missing::kIndicator), edges_(std::move(edges)) {}

  std::size_t width() const override { return 1; }
  std::int64_t ids() const override {
    return static_cast<std::int64_t>(edges_.size()) + 1 + (own_id_ ? 1 : 0);
  }
  void apply(std::span<const std::byte> column, std::span<const RowTarget> targets,
             std::size_t offset) const override {
    const auto* values = reinterpret_cast<const double*>(column.data());
    for (const RowTarget& target : targets) {
      const double value = values[target.row_in_block];
      target.ids()[offset] = std::isnan(value)
                                 ? ids() - 1
                                 : std::upper_bound(edges_.begin(), edges_.end(), value) - edges_.begin();
    }
  }
  Json to_json() const override { return {{"edges", edges_}}; }

 private:
  bool own_id_;
  std::vector<double> edges_;
};

std::unique_ptr<Transform> fit(const Field& field, const Json& options, const FieldSummary& summary) {
  const auto count = options.at("count").get<std::uint64_t>();
  std::vector<double> edges;
  for (std::uint64_t i = 1; i < count && summary.quantiles && summary.quantiles->count() > 0; ++i) {
    const double edge = summary.quantiles->quantile(static_cast<double>(i) / static_cast<double>(count));
    if (edges.empty() || edge > edges.back()) edges.push_back(edge);
  }
  return std::make_unique<Buckets>(field, std::move(edges));
}

std::unique_ptr<Transform> load(const Field& field, const Json&, const Json& json) {
  const std::string where = "transform 'buckets' of field '" + field.name + "'";
  auto edges = member<std::vector<double>>(json, "edges", where);
  if (!std::is_sorted(edges.begin(), edges.end()))
    throw Error(ErrorCode::kStorage, "'edges' do not ascend", where);
  return std::make_unique<Buckets>(field, std::move(edges));
}

void check(const Field& field, const Json& options) {
  if (!field.shape.empty()) fail(ErrorCode::kConfig, "'buckets' is for one number per row");
  const auto count = options.at("count").get<std::uint64_t>();
  if (count < 2 || count > 2048) fail(ErrorCode::kConfig, "2 to 2,048 buckets are possible, not {}", count);
}

const bool kRegistered = transforms().add(
    "buckets",
    {.options = {{"count", OptionType::kUnsigned, 16, "number of quantile intervals, 2 to 2,048", {}}},
     .fit = fit,
     .load = load,
     .needs = {.quantiles = true},
     .reads = TransformFactory::Reads::kDoubles,
     .check = check,
     .help = "number of the quantile interval of the training split: a category"});

}  // namespace

}  // namespace muster
