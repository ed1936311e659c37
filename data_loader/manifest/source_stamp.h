#pragma once
// Size and time of a file that rows are read from.

#include <cstdint>
#include <filesystem>
#include <system_error>

namespace muster {

/// By which a file that somebody writes is noticed.
struct SourceStamp {
  std::filesystem::path file;
  std::uintmax_t bytes = 0;
  std::filesystem::file_time_type written;
  bool operator==(const SourceStamp&) const = default;
};

inline SourceStamp stamp_of(const std::filesystem::path& file) {
  std::error_code gone;
  return {file, std::filesystem::file_size(file, gone), std::filesystem::last_write_time(file, gone)};
}

}  // namespace muster
