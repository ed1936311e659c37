#include "data_loader/reading/partition_list.h"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <memory>
#include <set>
#include <system_error>

#include "core/error.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

/// Sorted by path; a file that several names lead to only once.
std::vector<fs::path> each_once(std::vector<fs::path> files) {
  std::ranges::sort(files);
  std::set<fs::path> seen;
  std::vector<fs::path> once;
  for (const fs::path& file : files) {
    std::error_code dangling;
    const fs::path real = fs::weakly_canonical(file, dangling);
    if (seen.insert(dangling ? file : real).second) once.push_back(file);
  }
  return once;
}

std::vector<fs::path> files_of(const std::string& pattern) {
  glob_t matches{};
  const std::unique_ptr<glob_t, void (*)(glob_t*)> freed(&matches, ::globfree);
  const int status = ::glob(pattern.c_str(), GLOB_ERR, nullptr, &matches);
  if (status != 0 && status != GLOB_NOMATCH)
    throw Error(ErrorCode::kStorage, "a folder on the way cannot be read", pattern);
  std::vector<fs::path> files;
  for (std::size_t i = 0; status == 0 && i < matches.gl_pathc; ++i) {
    std::error_code dangling;  // a link to nothing is no folder: opening it says what is wrong
    if (!fs::is_directory(matches.gl_pathv[i], dangling)) files.emplace_back(matches.gl_pathv[i]);
  }
  if (files.empty()) throw Error(ErrorCode::kData, "matches no file", pattern);
  return files;
}

/// The deepest folder that all are in.
fs::path common_folder(const std::vector<fs::path>& files) {
  fs::path common = fs::absolute(files.front()).lexically_normal().parent_path();
  for (const fs::path& file : files) {
    const fs::path other = fs::absolute(file).lexically_normal().parent_path();
    const auto ends = std::mismatch(common.begin(), common.end(), other.begin(), other.end());
    fs::path shared;
    for (auto part = common.begin(); part != ends.first; ++part) shared /= *part;
    common = shared;
  }
  return common;
}

std::vector<ListedPartition> named_by_contract(const Contract& contract, const fs::path& root) {
  const std::vector<fs::path> files = matching_files(contract.partitions(), root);
  const fs::path common = common_folder(files);
  // Patterns that are absolute stay so; of others what is below the root can be moved with it.
  const bool below = std::ranges::any_of(
      contract.partitions(), [](const std::string& pattern) { return fs::path(pattern).is_relative(); });
  std::vector<ListedPartition> listed;
  for (const fs::path& file : files) {
    const std::string name = fs::absolute(file).lexically_normal().lexically_relative(common).string();
    const fs::path relative = file.lexically_relative(root);
    listed.push_back(
        {name, below && !relative.empty() ? relative.string() : fs::absolute(file).string(), file});
  }
  return listed;
}

std::vector<ListedPartition> beside_contract(const fs::path& root) {
  std::error_code failure;
  std::vector<ListedPartition> listed;
  fs::directory_iterator at(root, failure);
  for (const fs::directory_iterator end; !failure && at != end; at.increment(failure)) {
    const fs::path& path = at->path();
    const bool named = path.extension() == ".h5" || path.extension() == ".hdf5";
    std::error_code dangling;  // a link to nothing is no directory: opening it says what is wrong
    const std::string name = path.filename().string();
    if (named && name.front() != '.' && !fs::is_directory(path, dangling))
      listed.push_back({name, name, path});
  }
  if (failure)
    throw Error(ErrorCode::kStorage, fmt::format("cannot be listed ({})", failure.message()), root.string());
  if (!listed.empty()) return listed;
  throw Error(
      ErrorCode::kData,
      "has no partition (*.h5, *.hdf5): `muster generate` and `muster ingest` make some, `partitions:` "
      "in contract.yaml names those that lie elsewhere",
      root.string());
}

}  // namespace

std::string literal_pattern(const fs::path& path) {
  std::string text;
  for (const char c : path.string()) {
    if (c == '*' || c == '?' || c == '[' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

std::vector<fs::path> matching_files(const std::vector<std::string>& patterns, const fs::path& root) {
  std::vector<fs::path> all;
  for (const std::string& pattern : patterns) {
    const bool below = fs::path(pattern).is_relative() && !root.empty();
    const std::vector<fs::path> files = files_of(below ? literal_pattern(root) + "/" + pattern : pattern);
    all.insert(all.end(), files.begin(), files.end());
  }
  return each_once(std::move(all));
}

std::vector<ListedPartition> list_partitions(const Contract& contract, const fs::path& root) {
  std::vector<ListedPartition> listed =
      contract.partitions().empty() ? beside_contract(root) : named_by_contract(contract, root);
  std::ranges::sort(listed, {}, &ListedPartition::name);
  return listed;
}

}  // namespace muster
