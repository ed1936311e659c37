#pragma once
// The table of all configuration keys but the models' own, and what must hold between keys.

#include <vector>

#include "trainer/config.h"

namespace muster {

std::vector<ConfigKey> make_config_table();

/// What the types alone do not say: ranges, and keys that need each other. Error{kConfig} names the key.
void check_config(const Json& values, const YamlNode& document);

}  // namespace muster
