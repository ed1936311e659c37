// Any bytes: a manifest, or an Error that says where. A manifest survives being written and read again.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "data_loader/manifest/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<muster::Manifest> manifest;
  try {
    manifest = muster::Manifest::from_json(muster::parse_json(text, "manifest.json"), "manifest.json");
  } catch (const muster::Error& error) {
    if (error.where().empty()) std::abort();
    return 0;
  }
  const auto again = muster::Manifest::from_json(manifest->to_json(), "again");
  if (again.fingerprint() != manifest->fingerprint()) std::abort();
  return 0;
}
