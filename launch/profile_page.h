#pragma once
// A profile as one HTML page that needs nothing else.

#include <string>

#include "core/json.h"

namespace muster {

/// Self-contained, without scripts; every text from the data is escaped. `title` is the dataset's name.
std::string profile_page(const Json& profile, const std::string& title);

/// What is worth a look, one line each: constant, mostly missing, one value nearly everywhere, nearly every
/// value another one, distributions that differ between splits. By the values alone.
std::vector<std::string> profile_findings(const Json& profile);

}  // namespace muster
