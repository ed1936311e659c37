// Any bytes: a contract, or an Error{kConfig} that says where. A contract survives being written and read
// again.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "data_loader/contract/contract.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<muster::Contract> contract;
  try {
    contract = muster::Contract::parse(muster::YamlNode::parse(text, "contract.yaml"));
  } catch (const muster::Error& error) {
    if (error.code() != muster::ErrorCode::kConfig || error.where().empty()) std::abort();
    return 0;
  }
  const auto again = muster::Contract::parse(muster::YamlNode::parse(contract->to_yaml(), "again.yaml"));
  if (again.hash() != contract->hash()) std::abort();
  if (muster::Contract::from_json(contract->to_json(), "again.json").hash() != contract->hash()) std::abort();
  return 0;
}
