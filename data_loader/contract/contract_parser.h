#pragma once
// Internal to data_loader: what the two halves of the contract's parser share.

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/text.h"
#include "core/yaml.h"
#include "data_loader/contract/contract.h"

namespace muster {

/// Index of the text among the known words.
inline std::size_t choose(const YamlNode& node, const char* what, std::initializer_list<const char*> words) {
  const std::string found = node.as_string();
  const std::vector<std::string> known(words.begin(), words.end());
  const auto place = std::find(known.begin(), known.end(), found);
  if (place == known.end()) {
    node.fail_here(fmt::format("there is no {} '{}'{}; known: {}", what, found, did_you_mean(found, known),
                               join(known, ", ")));
  }
  return static_cast<std::size_t>(place - known.begin());
}

/// Runs what throws an Error without a place, and gives it this node's.
template <typename Body>
decltype(auto) placed(const YamlNode& node, Body&& body) {
  try {
    return body();
  } catch (const Error& error) {
    node.fail_here(error.message());
  }
}

/// One entry of `fields`. Every fault is Error{kConfig} with its place.
Field parse_field(const std::string& name, const YamlNode& node);

}  // namespace muster
