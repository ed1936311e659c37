#pragma once
// Internal to data_loader: a look at a file before libhdf5 sees it, so that what is no whole HDF5 file is
// called what it is.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace muster::hdf5 {

/// Throws unless the file is a regular, readable, whole HDF5 file by its signature and superblock:
/// Error{kStorage} if it cannot be read, Error{kData} that says what it seems to be instead, or how many
/// bytes are missing.
void require_hdf5(const std::filesystem::path& path);

/// What a file that starts with these bytes seems to be, and how to mend it: "is an HTML page, …".
std::string describe_foreign(std::span<const std::byte> head);

}  // namespace muster::hdf5
