#pragma once
// A checkpoint's name and its manifest.json: text that detects its own damage.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/file_system.h"
#include "core/json.h"

namespace muster {

/// "g0003-step-00001200".
struct CheckpointName {
  std::uint64_t generation = 0;
  std::uint64_t step = 0;

  std::string text() const;
  /// Nothing if the text is no checkpoint's name.
  static std::optional<CheckpointName> parse(std::string_view text);
};

/// As CheckpointName{generation, step}.text().
std::string checkpoint_name(std::uint64_t generation, std::uint64_t step);

/// Size and content of one file of a checkpoint.
struct FileStamp {
  std::uint64_t size = 0;
  std::string sha256;  ///< 64 lower-case hexadecimal digits
};

/// JSON with one more member, "sha256", over the canonical form of the rest. Only this very text is accepted
/// back: a changed byte anywhere is noticed, in white space too.
std::string seal(const Json& value, int indent);
/// The JSON of a sealed text, without "sha256"; Error{kStorage} with `where` if it is damaged.
Json unseal(std::string_view text, const std::string& where);

/// The files a manifest lists; Error{kStorage} if it lists something else.
std::map<std::string, FileStamp> listed_files(const Json& manifest, const std::string& where);

}  // namespace muster
