#pragma once
// A lock that ends with the process that has it.

#include <filesystem>
#include <string>

namespace muster {

/// Held while it lives. The file is removed at the end; one that a killed process left is no obstacle.
class FileLock {
 public:
  /// Error{kUsage} with `refusal` at the file's folder if another process holds it, Error{kStorage} if it
  /// cannot be made.
  FileLock(std::filesystem::path path, const std::string& refusal);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace muster
