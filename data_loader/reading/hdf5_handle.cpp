#include "data_loader/reading/hdf5_handle.h"

#include <fmt/format.h>

#include <cstring>

#include "core/text.h"

namespace muster::hdf5 {
namespace {

herr_t keep_innermost(unsigned depth, const H5E_error2_t* entry, void* text) {
  if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(text) = entry->desc;
  return 0;
}

}  // namespace

Failure last_failure() {
  Failure failure;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &failure.message);
  if (failure.message.empty()) failure.message = "no reason given";
  // The file driver packs time, addresses and buffers into its messages; the cause is the error number.
  constexpr std::string_view kMark = "errno = ";
  if (const auto at = failure.message.find(kMark); at != std::string::npos) {
    failure.error_number =
        leading_integer(std::string_view(failure.message).substr(at + kMark.size())).value_or(0);
    failure.message = std::strerror(failure.error_number);
  }
  return failure;
}

std::string library_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("libhdf5 {}.{}.{}", major, minor, release);
}

}  // namespace muster::hdf5
