#pragma once
// Signs in a sample of the training data that a feature knows what it should predict, or that rows are on
// both sides of a split. Pure functions of values: no name decides anything.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace muster {

/// Rows of the training split, in their order.
struct LeakTable {
  struct Column {
    std::string name;
    bool is_category = false;    ///< equal values are equal; more or less means nothing
    std::vector<double> values;  ///< NaN where missing
  };
  std::vector<Column> features;
  std::vector<double> label;
  std::string label_name;  ///< for messages, where there are several; else ""
};

/// What is suspicious, with the evidence.
struct LeakFinding {
  std::string kind;  ///< "predicts_alone", "sum_with_label", "shared_rows", "shared_keys", "known_late"
  std::vector<std::string> fields;
  std::string message;
};

/// How well one feature alone tells the label: an area under the ROC curve, 0.5 for nothing, 1 for
/// everything.
struct FeatureScore {
  std::string name;
  double auc = 0.5;
};

/// Best first. Values are put into at most 64 quantile intervals (categories: their own), the label's rate in
/// each is learned on one half of the rows and scored on the other, and the other way round; so a category of
/// which every row has its own learns nothing. Labels of two values as they are; of up to 20 whole numbers
/// one against the rest, weighted by their rows; others by whether they exceed their median.
std::vector<FeatureScore> score_features(const LeakTable& table);

/// Of score_features' scores: features with at least 0.97 (0.99 where the label is a number), or, where it is
/// one of a few classes, with at least 0.85 whose distance from 0.5 is at least twice the next best one's.
/// `label_name`: as LeakTable's.
std::vector<LeakFinding> find_lone_predictors(std::span<const FeatureScore> scores,
                                              std::span<const double> label,
                                              const std::string& label_name = {});

/// Whether the label is a sum of number features (with factors) to 99.9 % of its variance, in rows that the
/// factors were not fitted to: one of them was computed from the others and the label.
std::vector<LeakFinding> find_sums(const LeakTable& table);

/// A side of a split: hashes of its rows (all features and the label), and of each key field's values.
struct SplitSide {
  std::string split;
  std::vector<std::uint64_t> rows;
  std::vector<std::vector<std::uint64_t>> keys;  ///< per key field
};

/// Rows of `other` that are in `train` too: at least 1 % of them, in data whose rows are mostly different;
/// and, where `keys_must_differ`, key values on both sides. Splits by time have the same customers on both
/// sides by right: then false.
std::vector<LeakFinding> find_shared(const SplitSide& train, const SplitSide& other,
                                     std::span<const std::string> key_names, bool keys_must_differ);

}  // namespace muster
