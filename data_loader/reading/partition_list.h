#pragma once
// Which files are a dataset's partitions, and what they are called in its manifest.

#include <filesystem>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"

namespace muster {

struct ListedPartition {
  std::string name;            ///< part of the dataset's identity
  std::string path;            ///< relative to the root, unless the contract says it absolute
  std::filesystem::path file;  ///< to be opened
};

/// The files that the patterns match (* and ?, as in a shell; each must match one at least), sorted by path;
/// a file that several names or links lead to only once. Relative patterns start at `root`; Error{kData}
/// names a pattern that matches nothing.
std::vector<std::filesystem::path> matching_files(const std::vector<std::string>& patterns,
                                                  const std::filesystem::path& root);

/// A pattern that matches just this path: a backslash before what has a meaning in patterns.
std::string literal_pattern(const std::filesystem::path& path);

/// What contract.partitions() match, each named by its path below their deepest common folder; or, where it
/// has none, *.h5 and *.hdf5 in `root` (hidden files and folders apart), named by their file names. Sorted by
/// name. Error{kData} if there are none, Error{kStorage} if the folder cannot be listed.
std::vector<ListedPartition> list_partitions(const Contract& contract, const std::filesystem::path& root);

}  // namespace muster
