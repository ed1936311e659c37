#pragma once
// The table of all configuration keys but the models' own, and what must hold between keys.

#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace muster {

std::vector<ConfigKey> make_config_table();

/// Fails where the key stands in the file, or at the file as a whole when it is not written there.
[[noreturn]] void refuse_key(const YamlNode& document, const char* section, const char* key,
                             const std::string& message);

/// What the types alone do not say: ranges, and keys that need each other. Error{kConfig} names the key.
void check_config(const Json& values, const YamlNode& document);

}  // namespace muster
