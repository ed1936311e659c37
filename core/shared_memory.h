#pragma once
// Memory that processes of one host share. It has no name in any folder: nothing is left of it when the last
// process that maps it ends, however that ends.

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "core/error.h"

namespace muster {

/// A mapping, the same bytes in every process that has it. Unmapped when destroyed. What the processes do to
/// the bytes is theirs to order (atomics).
class SharedMemory {
 public:
  /// Zeros. All its pages are there: using them later cannot fail. Error{kStorage} where they are not to be
  /// had, but for the limit of a control group, whose kernel ends the process instead.
  static std::unique_ptr<SharedMemory> create(std::size_t bytes);
  /// What `handle()` of another process names. Error{kStorage} if it is out of reach: another host or
  /// container, another user, a process that ended or has withdrawn it.
  static Result<std::unique_ptr<SharedMemory>> open(const std::string& handle);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Starts at a multiple of 64 bytes.
  std::span<std::byte> bytes() const;
  /// For open() in other processes, until withdraw(). Of what create() made only.
  std::string handle() const;
  /// Nobody else can open it from here on. Who has it keeps it.
  void withdraw();

 private:
  SharedMemory() = default;
  int descriptor_ = -1;
  std::byte* start_ = nullptr;  ///< of the mapping: a header, then the bytes
  std::size_t mapped_ = 0;
};

}  // namespace muster
