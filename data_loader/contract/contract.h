#pragma once
// The contract of a dataset: what its fields are, what they may hold, and how rows are split. Format:
// docs/contract.md.

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/hash.h"
#include "core/json.h"
#include "core/yaml.h"
#include "data_loader/contract/dtype.h"
#include "data_loader/contract/split_rule.h"
#include "data_loader/contract/token_window.h"

namespace muster {

enum class Role { kFeature, kLabel, kTime, kKey, kWeight };

/// What happens to a missing value (Field::is_missing): refused; replaced; replaced, with a 0/1 feature
/// beside it (a category: an id of its own); or its row is left out of the row index.
enum class Missing { kForbid, kImpute, kIndicator, kDrop };
std::string_view to_string(Missing missing);

/// What replaces a missing feature: a statistic of the training split, or a value.
struct Imputation {
  enum class Kind { kMean, kMedian, kMode, kValue };
  Kind kind = Kind::kMean;
  double value = 0;  ///< of kValue, for numbers
  std::string text;  ///< of kValue, for texts
};

/// One step from a field's values to model inputs: the name of a registered transform and its options.
struct TransformStep {
  std::string name;
  Json options = Json::object();  ///< checked, defaults filled in
};

/// One field: an HDF5 dataset in every partition whose first dimension is the row, or the token where rows
/// are windows.
struct Field {
  std::string name;
  std::string path;                 ///< inside the HDF5 file; the name unless given
  std::vector<std::string> member;  ///< of a compound dataset: the member's name, from the outside in
  DType dtype = DType::kFloat32;
  std::uint64_t length = 0;          ///< bytes of a text; 0 for numbers
  std::vector<std::uint64_t> shape;  ///< beyond the row; empty for one number per row
  /// The dataset is a stream of tokens, one number each, and rows are windows of it: `shape` is [length + 1].
  std::optional<TokenWindow> window;
  std::string unit;
  std::optional<double> minimum;  ///< of `range: [min, max]`, both inclusive
  std::optional<double> maximum;
  std::vector<double> allowed;             ///< ascending; empty: anything in range
  std::vector<std::string> allowed_texts;  ///< the same of a text
  Missing missing = Missing::kForbid;
  std::optional<double> missing_value;  ///< a number that stands for a missing one, beside NaN
  std::optional<double> max_missing;    ///< greatest share of all rows that may be missing, in [0, 1]
  Imputation impute;                    ///< where missing is kImpute or kIndicator
  bool unique = false;                  ///< no value occurs twice in the dataset
  Role role = Role::kFeature;
  bool tells_known = false;  ///< a `known_at` names it: it is a time beside the row's own
  std::string known_at;      ///< of a feature: the field that tells when its value became known; "": not said
  /// Element-wise maps, then at most one fitted transform. Empty unless the field is an input of models.
  std::vector<TransformStep> transform;

  /// Whether texts of ISO dates and times stand for its values. A contract has one time; others may be keys.
  bool takes_times() const { return role == Role::kTime || role == Role::kKey || tells_known; }
  bool is_text() const { return dtype == DType::kString; }
  bool can_be_missing() const { return missing != Missing::kForbid; }
  std::uint64_t value_bytes() const { return is_text() ? length : size_of(dtype); }
  std::uint64_t values_per_row() const;
  std::uint64_t bytes_per_row() const;
  /// Where it is in a file, for messages: "table", of a member "table.mass".
  std::string location() const;
  /// The field as its dataset stores it: one token per row where rows are windows.
  Field stored() const;
  /// Whether a number means "missing": NaN, or missing_value.
  template <typename T>
  bool is_missing(T value) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (std::isnan(value)) return true;
    }
    return missing_value && value == static_cast<T>(*missing_value);
  }
};

class Contract {
 public:
  /// Parses contract.yaml; every fault is Error{kConfig} with file:line:column.
  static Contract parse(const YamlNode& document);
  static Contract load(const std::filesystem::path& file);
  /// From to_json's form (as kept in checkpoints). Throws Error{kStorage}.
  static Contract from_json(const Json& json, const std::string& where);

  const std::vector<Field>& fields() const { return fields_; }  ///< in contract order
  const Field* find(std::string_view name) const;
  /// As find; Error{kConfig} names the nearest field.
  const Field& field(std::string_view name) const;
  /// The one field of a role, or nullptr; several are refused by parse for time and weight.
  const Field* only(Role role) const;
  /// The fields with role label, in contract order, as indices of fields().
  std::vector<std::size_t> labels() const;
  /// The label whose values have the same shares in each split, or nullptr.
  const Field* stratified_by() const;
  /// The fields as partitions store them (Field::stored), for writers. Where one has windows all must have
  /// the same ones, as rows are tokens then: else Error{kConfig}, without a place.
  std::vector<Field> stored_fields() const;
  /// Whether rows are windows of tokens, of the first field at least.
  bool has_windows() const { return !fields_.empty() && fields_.front().window.has_value(); }
  /// The contract of the same data less some fields. Error{kConfig} where the splits need one of them, unless
  /// it is the label that they are stratified by: such rows are dealt without.
  Contract without(std::span<const std::string> names) const;
  const std::vector<std::string>& never_features() const { return never_features_; }
  /// Where the partitions lie, if not beside the contract: paths or patterns with * and ?, relative to the
  /// data root. No part of to_json and the hash.
  const std::vector<std::string>& partitions() const { return partitions_; }
  const SplitRule& splits() const { return splits_; }
  std::vector<std::string> split_names() const;

  /// Canonical content: no comments, defaults filled in. The hash is SHA-256 over its canonical text.
  Json to_json() const;
  Sha256 hash() const;
  /// YAML text that parse reads back to the same contract.
  std::string to_yaml() const;

 private:
  std::vector<Field> fields_;
  std::vector<std::string> never_features_;
  std::vector<std::string> partitions_;
  SplitRule splits_;
};

/// Indices of the contract's fields in name order: the order of hashes.
std::vector<std::size_t> fields_by_name(const Contract& contract);

}  // namespace muster
