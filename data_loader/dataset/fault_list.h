#pragma once
// Faults of data: the first few kept, all counted.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace muster {

/// Not thread-safe: one per partition.
class FaultList {
 public:
  explicit FaultList(std::size_t keep) : keep_(keep) {}

  /// Counts a fault of a field's value; `make` gives its Error and is called only if it is kept.
  template <typename Make>
  void add(const std::string& field, Make&& make) {
    ++by_field_[field];
    if (count_++ < keep_) kept_.push_back(make());
  }
  /// Counts a fault of a whole file or dataset.
  void add(Error error) {
    if (count_++ < keep_) kept_.push_back(std::move(error));
  }
  /// Appends the faults of another list.
  void append(FaultList other) {
    count_ += other.count_;
    for (const auto& [field, count] : other.by_field_) by_field_[field] += count;
    for (Error& error : other.kept_) {
      if (kept_.size() < keep_) kept_.push_back(std::move(error));
    }
  }

  bool empty() const { return count_ == 0; }
  std::uint64_t count() const { return count_; }
  const std::vector<Error>& kept() const { return kept_; }
  const std::map<std::string, std::uint64_t>& by_field() const { return by_field_; }

 private:
  std::size_t keep_;
  std::uint64_t count_ = 0;
  std::vector<Error> kept_;
  std::map<std::string, std::uint64_t> by_field_;
};

}  // namespace muster
