#pragma once
// A directory for as long as it is needed.

#include <filesystem>
#include <utility>

#include "core/file_system.h"

namespace muster {

/// Made with the object, and gone with all that is in it when the object goes; a failure to remove it is let
/// be. `files` outlives it.
class TemporaryDirectory {
 public:
  TemporaryDirectory(FileSystem& files, std::filesystem::path path) : files_(files), path_(std::move(path)) {
    files_.make_directories(path_);
  }
  ~TemporaryDirectory() {
    static_cast<void>(attempt([&] { return files_.remove_all(path_), true; }));
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  FileSystem& files_;
  std::filesystem::path path_;
};

}  // namespace muster
