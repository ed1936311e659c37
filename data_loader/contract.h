#pragma once
// The contract of a dataset: what its fields are, what they may hold, and how rows are split. Format:
// docs/contract.md.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/hash.h"
#include "core/json.h"
#include "core/yaml.h"
#include "data_loader/dtype.h"

namespace muster {

enum class Role { kFeature, kLabel, kTime, kKey, kWeight };
/// What a missing value (NaN in a float field) means: refused, or imputed with a 0/1 indicator beside it.
enum class Missing { kForbid, kIndicator };

/// One field: an HDF5 dataset in every partition whose first dimension is the row.
struct Field {
  std::string name;
  std::string path;  ///< inside the HDF5 file; the name unless given
  DType dtype = DType::kFloat32;
  std::vector<std::uint64_t> shape;  ///< beyond the row; empty for one number per row
  std::string unit;
  std::optional<double> minimum;  ///< of `range: [min, max]`, both inclusive
  std::optional<double> maximum;
  std::vector<double> allowed;  ///< empty: anything in range
  Missing missing = Missing::kForbid;
  Role role = Role::kFeature;
  std::string transform;  ///< a registered transform; "" for labels, times, keys, weights

  std::uint64_t values_per_row() const;
  std::uint64_t bytes_per_row() const;
};

/// Rows by time: each split holds the rows with from <= time < until.
struct TimeSplit {
  struct Interval {
    std::string name;
    std::optional<std::int64_t> from;   ///< seconds since 1970, or the field's own unit
    std::optional<std::int64_t> until;  ///< exclusive
  };
  std::string field;
  std::int64_t gap = 0;  ///< least distance between one split's `until` and the next one's `from`
  std::vector<Interval> intervals;
};

/// At random: split i holds about that fraction of the rows, by a hash of (seed, partition number, row), or
/// of the key field's values, by a hash of (seed, value): all rows of a value are then on one side.
struct FractionSplit {
  struct Share {
    std::string name;
    double fraction = 0;
  };
  std::uint64_t seed = 0;
  std::string key;            ///< name of the field with role key; "": by row
  std::vector<Share> shares;  ///< sum at most 1; what is left is in no split
};

using SplitRule = std::variant<TimeSplit, FractionSplit>;

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
  /// The one field of a role, or nullptr; several are refused by parse for label, time and weight.
  const Field* only(Role role) const;
  const std::vector<std::string>& never_features() const { return never_features_; }
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
  SplitRule splits_;
};

}  // namespace muster
