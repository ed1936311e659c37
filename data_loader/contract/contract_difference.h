#pragma once
// What changed from one contract to another, and what that means for a model of the first.

#include <string>
#include <vector>

#include "core/json.h"
#include "data_loader/contract/contract.h"

namespace muster {

struct ContractDifference {
  struct Change {
    std::string field;  ///< "" for the splits and never_features
    std::string what;   ///< one line: "dtype: int32 → int64"
    /// A model whose inputs include the field can no longer read the data, or reads them in another sense.
    bool breaks_inputs = false;
    bool stricter = false;  ///< values that passed before can be refused now
  };
  std::vector<Change> changes;
  bool same_hash = false;  ///< to the bit: a run can go on with it, as far as the contract goes

  bool fits() const;  ///< no change breaks an input: `predict` can use the data
  Json to_json() const;
  std::string text() const;
};

/// Fields in A's order, then B's new ones; then splits and never_features.
ContractDifference compare(const Contract& before, const Contract& after);

}  // namespace muster
