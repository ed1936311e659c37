#pragma once
// Internal to data_loader: what an HDF5 file refers to outside itself: raw data in other files, members of
// virtual datasets, links into other files. It must be there, in the file's own folder or below: a foreign
// file must neither lead a reader to other people's files, nor read as fill values where something is gone.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "data_loader/reading/hdf5_handle.h"

namespace muster::hdf5 {

/// Why `file` may not refer to `name`, relative to its folder, or "". Files are told apart by their names
/// alone: a symbolic link in the folder was put there by somebody who may.
std::string refuse_reference(const std::filesystem::path& file, std::string_view name);

/// Why the dataset's raw data in other files cannot be used, or "". `bytes`: of all its values.
std::string refuse_external_storage(hid_t creation_properties, std::uint64_t bytes,
                                    const std::filesystem::path& file);

/// Why the virtual dataset cannot be used, or "": every member must be there, with the dataset and the extent
/// that the mapping asks for, and every value must come from one.
std::string refuse_virtual_members(hid_t dataset, hid_t creation_properties,
                                   const std::filesystem::path& file);

/// Follows external links only where refuse_reference has nothing against it. Virtual datasets without an end
/// are as long as all their members are. `reason`, which gets why a link was not followed, must outlive
/// `access`.
void confine_references(hid_t access, std::string& reason);

}  // namespace muster::hdf5
