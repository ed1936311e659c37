#pragma once
// Internal to data_loader: ownership of libhdf5's ids, the one mutex in front of the library, and its errors
// as text.

#define H5_USE_110_API  // the same calls with 1.10, 1.12 and 1.14
#include <hdf5.h>

#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

namespace muster::hdf5 {

/// Held around every call into libhdf5, closing of ids included: Debian builds the library without locks of
/// its own. While it is held the library prints no errors; a host program's own error printing is back
/// afterwards.
class Lock {
 public:
  Lock() : held_(mutex()) {
    H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Lock() { H5Eset_auto2(H5E_DEFAULT, print_, print_data_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  /// Before the library's first call. What a file refers to is looked for beside it, not where the process
  /// runs: the library gives properties of a dataset on to no member of a virtual one, so that the
  /// environment says it, and overrides what the user's may say.
  static bool prepare() {
    for (const char* name : {"HDF5_EXTFILE_PREFIX", "HDF5_VDS_PREFIX"}) ::setenv(name, "${ORIGIN}", 1);
    ::unsetenv("HDF5_EXT_PREFIX");
    // At exit everything of ours is closed; after a write that failed the library would try for ever.
    return H5dont_atexit() >= 0;
  }
  static std::mutex& mutex() {
    static const bool prepared = prepare();
    (void)prepared;
    static std::mutex process_wide;
    return process_wide;
  }
  std::lock_guard<std::mutex> held_;
  H5E_auto2_t print_ = nullptr;
  void* print_data_ = nullptr;
};

/// Owns an id of any kind: `Handle file(H5Fopen(…), H5Fclose)`. Made and destroyed while a Lock is held.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }

  bool valid() const { return id_ >= 0; }
  hid_t get() const { return id_; }
  /// Closes now; false if the library could not (a file whose last bytes could not be written).
  bool reset() { return !valid() || close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// What the last failed call says: the innermost message of libhdf5's error stack, and the operating system's
/// error number behind it (0 if there is none).
struct Failure {
  std::string message;
  int error_number = 0;
};
Failure last_failure();

/// "libhdf5 1.10.8".
std::string library_version();

}  // namespace muster::hdf5
