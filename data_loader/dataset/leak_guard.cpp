#include "data_loader/dataset/leak_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "core/random.h"
#include "core/text.h"

namespace muster {

namespace {

constexpr double kCertain = 0.97;
constexpr double kCertainOfNumbers = 0.99;  // one honest feature may well say whether a number is large
constexpr double kStrong = 0.85;
constexpr double kAhead = 2;
constexpr std::size_t kIntervals = 64;
constexpr std::size_t kMostClasses = 20;
constexpr double kPriorRows = 20;  // an interval's rate counts as if so many rows of the average were in it

/// Which half of the rows a row belongs to, so that halves are not neighbours in time.
bool second_half(std::size_t row) { return (random_key(0, Purpose::kLeakGuard, {row}) & 1U) != 0; }

/// Interval or category of each row; missing values have their own.
std::vector<std::uint32_t> bins_of(const LeakTable::Column& column) {
  std::vector<std::uint32_t> bins(column.values.size());
  if (column.is_category) {
    std::map<double, std::uint32_t> numbers;
    for (std::size_t row = 0; row < bins.size(); ++row) {
      const double value = column.values[row];
      if (std::isnan(value)) continue;  // 0
      bins[row] = numbers.emplace(value, static_cast<std::uint32_t>(numbers.size() + 1)).first->second;
    }
    return bins;
  }
  std::vector<double> sorted;
  for (const double value : column.values) {
    if (!std::isnan(value)) sorted.push_back(value);
  }
  std::sort(sorted.begin(), sorted.end());
  std::vector<double> edges;
  for (std::size_t i = 1; i < kIntervals && !sorted.empty(); ++i) {
    const double edge = sorted[i * sorted.size() / kIntervals];
    if (edges.empty() || edge > edges.back()) edges.push_back(edge);
  }
  for (std::size_t row = 0; row < bins.size(); ++row) {
    const double value = column.values[row];
    const auto place = std::upper_bound(edges.begin(), edges.end(), value) - edges.begin();
    bins[row] = std::isnan(value) ? 0 : static_cast<std::uint32_t>(place + 1);
  }
  return bins;
}

/// The label as questions with yes or no, each with the rows that say yes.
std::vector<std::vector<bool>> questions_of(const std::vector<double>& label) {
  std::map<double, std::size_t> values;
  for (const double value : label) {
    ++values[value];
    if (values.size() > kMostClasses) break;
  }
  const bool whole =
      std::all_of(values.begin(), values.end(), [](const auto& v) { return std::trunc(v.first) == v.first; });
  std::vector<std::vector<bool>> questions;
  const auto ask = [&](auto&& yes) {
    std::vector<bool>& question = questions.emplace_back(label.size());
    for (std::size_t row = 0; row < label.size(); ++row) question[row] = yes(label[row]);
  };
  if (values.size() == 2) {
    ask([&](double value) { return value == values.rbegin()->first; });
  } else if (values.size() > 2 && values.size() <= kMostClasses && whole) {
    for (const auto& entry : values) ask([&, one = entry.first](double value) { return value == one; });
  } else if (values.size() > 2) {
    std::vector<double> sorted = label;
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    ask([median = *middle](double value) { return value > median; });
  }
  return questions;
}

/// Whether the label is a number rather than one of a few classes.
bool is_number(std::span<const double> label) {
  std::map<double, std::size_t> values;
  for (const double value : label) {
    ++values[value];
    if (values.size() > kMostClasses || std::trunc(value) != value) return true;
  }
  return false;
}

/// Area under the ROC curve of scores that few different values have, with ties as half; 0.5 without yes or
/// no.
double area(std::map<double, std::pair<std::uint64_t, std::uint64_t>>& counts) {
  double sum = 0;
  double below = 0;
  double positives = 0;
  for (const auto& [score, count] : counts) {
    const auto no = static_cast<double>(count.first);
    const auto yes = static_cast<double>(count.second);
    sum += yes * (below + no / 2);
    below += no;
    positives += yes;
  }
  return positives > 0 && below > 0 ? sum / (positives * below) : 0.5;
}

/// Rates learned on the rows of one half, scored on the other.
double held_out_area(const std::vector<std::uint32_t>& bins, const std::vector<bool>& yes, bool learn_on) {
  const std::size_t most = *std::max_element(bins.begin(), bins.end());
  std::vector<std::pair<std::uint64_t, std::uint64_t>> learned(most + 1);
  std::uint64_t rows = 0;
  std::uint64_t positives = 0;
  for (std::size_t row = 0; row < bins.size(); ++row) {
    if (second_half(row) != learn_on) continue;
    ++rows;
    positives += yes[row] ? 1 : 0;
    ++(yes[row] ? learned[bins[row]].second : learned[bins[row]].first);
  }
  if (rows == 0) return 0.5;
  const double average = static_cast<double>(positives) / static_cast<double>(rows);
  std::map<double, std::pair<std::uint64_t, std::uint64_t>> scored;
  for (std::size_t row = 0; row < bins.size(); ++row) {
    if (second_half(row) == learn_on) continue;
    const auto& [no, is] = learned[bins[row]];
    const double rate = (static_cast<double>(is) + kPriorRows * average) /
                        (static_cast<double>(is) + static_cast<double>(no) + kPriorRows);
    ++(yes[row] ? scored[rate].second : scored[rate].first);
  }
  return area(scored);
}

double score_of(const LeakTable::Column& column, const std::vector<std::vector<bool>>& questions) {
  const std::vector<std::uint32_t> bins = bins_of(column);
  double sum = 0;
  double weights = 0;
  for (const std::vector<bool>& yes : questions) {
    const auto weight = static_cast<double>(std::count(yes.begin(), yes.end(), true));
    sum += weight * (held_out_area(bins, yes, false) + held_out_area(bins, yes, true)) / 2;
    weights += weight;
  }
  return weights > 0 ? sum / weights : 0.5;
}

}  // namespace

std::vector<FeatureScore> score_features(const LeakTable& table) {
  std::vector<FeatureScore> scores;
  if (table.label.empty()) return scores;
  const auto questions = questions_of(table.label);
  for (const LeakTable::Column& column : table.features)
    scores.push_back({column.name, score_of(column, questions)});
  std::stable_sort(scores.begin(), scores.end(), [](const auto& a, const auto& b) { return a.auc > b.auc; });
  return scores;
}

namespace {

std::string the_label(const std::string& name) {
  return name.empty() ? "the label" : fmt::format("the label '{}'", name);
}

}  // namespace

std::vector<LeakFinding> find_lone_predictors(std::span<const FeatureScore> scores,
                                              std::span<const double> label, const std::string& label_name) {
  const bool numbers = is_number(label);
  std::vector<LeakFinding> findings;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const bool certain = scores[i].auc >= (numbers ? kCertainOfNumbers : kCertain);
    const bool ahead = !numbers && i + 1 < scores.size() && scores[i].auc >= kStrong &&
                       scores[i].auc - 0.5 >= kAhead * (scores[i + 1].auc - 0.5);
    if (!certain && !ahead) continue;
    // All before one that is far ahead of the rest are too.
    for (std::size_t k = findings.size(); k <= i; ++k) {
      const double next = k + 1 < scores.size() ? scores[k + 1].auc : 0.5;
      findings.push_back({"predicts_alone",
                          {scores[k].name},
                          fmt::format("'{}' alone tells {} with AUC {:.3f} (the next best feature: "
                                      "{:.3f}): is it known when a prediction is asked for?",
                                      scores[k].name, the_label(label_name), scores[k].auc, next)});
    }
  }
  return findings;
}

namespace {

/// Number columns and the label, each with mean 0 and deviation 1; constant columns are left out.
struct Standardized {
  std::vector<std::string> names;
  std::vector<std::vector<double>> columns;
  std::vector<double> label;
};

/// Missing values become 0, the mean. Empty for a constant.
std::vector<double> standardized(const std::vector<double>& values) {
  double sum = 0;
  double count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  const double mean = sum / std::max(1.0, count);
  double squares = 0;
  for (const double value : values) squares += std::isnan(value) ? 0 : (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / std::max(1.0, count));
  if (!std::isnormal(deviation)) return {};
  std::vector<double> result;
  result.reserve(values.size());
  for (const double value : values) result.push_back(std::isnan(value) ? 0 : (value - mean) / deviation);
  return result;
}

/// Solves (matrix + ridge) x = right for a symmetric positive matrix by Cholesky's decomposition.
std::vector<double> solve(std::vector<std::vector<double>> matrix, std::vector<double> right) {
  const std::size_t size = right.size();
  double scale = 0;
  for (std::size_t i = 0; i < size; ++i) scale = std::max(scale, matrix[i][i]);
  for (std::size_t i = 0; i < size; ++i) matrix[i][i] += 1e-10 * scale;
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double sum = matrix[i][j];
      for (std::size_t k = 0; k < j; ++k) sum -= matrix[i][k] * matrix[j][k];
      matrix[i][j] = i == j ? std::sqrt(std::max(sum, 1e-14 * scale)) : sum / matrix[j][j];
    }
  }
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t k = 0; k < i; ++k) right[i] -= matrix[i][k] * right[k];
    right[i] /= matrix[i][i];
  }
  for (std::size_t i = size; i-- > 0;) {
    for (std::size_t k = i + 1; k < size; ++k) right[i] -= matrix[k][i] * right[k];
    right[i] /= matrix[i][i];
  }
  return right;
}

std::vector<double> fit_sum(const Standardized& data) {
  const std::size_t size = data.columns.size();
  std::vector<std::vector<double>> matrix(size, std::vector<double>(size, 0));
  std::vector<double> right(size, 0);
  for (std::size_t row = 0; row < data.label.size(); ++row) {
    if (second_half(row)) continue;
    for (std::size_t i = 0; i < size; ++i) {
      right[i] += data.columns[i][row] * data.label[row];
      for (std::size_t j = 0; j <= i; ++j) matrix[i][j] += data.columns[i][row] * data.columns[j][row];
    }
  }
  return solve(std::move(matrix), std::move(right));
}

/// Share of the label's variance that the sum explains in the other half.
double explained(const Standardized& data, const std::vector<double>& factors) {
  double left = 0;
  double all = 0;
  for (std::size_t row = 0; row < data.label.size(); ++row) {
    if (!second_half(row)) continue;
    double guess = 0;
    for (std::size_t i = 0; i < factors.size(); ++i) guess += factors[i] * data.columns[i][row];
    left += (data.label[row] - guess) * (data.label[row] - guess);
    all += data.label[row] * data.label[row];
  }
  return all > 0 ? 1 - left / all : 0;
}

}  // namespace

std::vector<LeakFinding> find_sums(const LeakTable& table) {
  constexpr double kSum = 0.999;
  constexpr std::size_t kMostColumns = 256;  // the work grows with the square
  Standardized data;
  data.label = standardized(table.label);
  for (const LeakTable::Column& column : table.features) {
    if (column.is_category || data.columns.size() == kMostColumns) continue;
    std::vector<double> values = standardized(column.values);
    if (values.empty()) continue;
    data.names.push_back(column.name);
    data.columns.push_back(std::move(values));
  }
  if (data.label.size() < 20 * (data.columns.size() + 1) || data.columns.size() < 2) return {};
  const std::vector<double> factors = fit_sum(data);
  const double share = explained(data, factors);
  if (!(share >= kSum)) return {};
  double largest = 0;
  for (const double factor : factors) largest = std::max(largest, std::abs(factor));
  LeakFinding finding{"sum_with_label", {}, ""};
  for (std::size_t i = 0; i < factors.size(); ++i) {
    if (std::abs(factors[i]) >= 0.02 * largest) finding.fields.push_back(data.names[i]);
  }
  if (finding.fields.size() < 2) return {};  // one that predicts alone is named as that
  finding.message = fmt::format(
      "{} is a sum of {} (with factors) to {:.3f} % of its variance: one of them was made from the others "
      "and the label",
      the_label(table.label_name), join(finding.fields, ", "), 100 * share);
  return {finding};
}

namespace {

/// Shared values and how many of `other` they are.
std::size_t count_shared(const std::unordered_set<std::uint64_t>& train,
                         const std::vector<std::uint64_t>& other) {
  return static_cast<std::size_t>(
      std::count_if(other.begin(), other.end(), [&](std::uint64_t hash) { return train.contains(hash); }));
}

}  // namespace

std::vector<LeakFinding> find_shared(const SplitSide& train, const SplitSide& other,
                                     std::span<const std::string> key_names, bool keys_must_differ) {
  constexpr double kShare = 0.01;
  constexpr double kDifferent = 0.5;
  // Rows that are alike by nature repeat inside the training split as well. Of a table in which every row is
  // there twice, dealt at random, 70 % of the other split's are in a training split that repeats 35 %.
  constexpr double kBeyondRepeats = 1.5;
  std::vector<LeakFinding> findings;
  const std::unordered_set<std::uint64_t> rows(train.rows.begin(), train.rows.end());
  const std::size_t shared = count_shared(rows, other.rows);
  const bool mostly_different =
      static_cast<double>(rows.size()) >= kDifferent * static_cast<double>(train.rows.size());
  const double repeats = 1 - static_cast<double>(rows.size()) / static_cast<double>(train.rows.size());
  if (mostly_different && shared > 0 &&
      static_cast<double>(shared) >=
          std::max(kShare, kBeyondRepeats * repeats) * static_cast<double>(other.rows.size())) {
    findings.push_back(
        {"shared_rows",
         {},
         fmt::format("{} of {} rows of '{}' are in '{}' too, with the same features and label: drop "
                     "duplicates, or split by a key",
                     human_count(shared), human_count(other.rows.size()), other.split, train.split)});
  }
  for (std::size_t key = 0; keys_must_differ && key < key_names.size(); ++key) {
    const std::unordered_set<std::uint64_t> values(train.keys[key].begin(), train.keys[key].end());
    const std::size_t both = count_shared(values, other.keys[key]);
    if (static_cast<double>(both) < kShare * static_cast<double>(other.rows.size()) || both == 0) continue;
    findings.push_back(
        {"shared_keys",
         {key_names[key]},
         fmt::format(
             "{} of {} rows of '{}' have a '{}' that is in '{}' too: `splits: {{by: key, field: {}}}` keeps "
             "each on one side",
             human_count(both), human_count(other.rows.size()), other.split, key_names[key], train.split,
             key_names[key])});
  }
  return findings;
}

}  // namespace muster
