#pragma once
// Faults of rows, told a few of each kind: who has 5,000 wrong dates and one broken quote wants to see both.

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace muster {

/// Not thread-safe.
class FaultGroups {
 public:
  static constexpr std::size_t kShownEach = 3;

  struct Group {
    std::string cause;
    std::vector<Error> shown;  ///< the first kShownEach
    std::uint64_t count = 0;
  };

  /// `make` gives the fault's Error, and is called only if it is shown.
  template <typename Make>
  void add(const std::string& cause, Make&& make) {
    ++count_;
    Group& group = of(cause);
    if (group.count++ < kShownEach) group.shown.push_back(make());
  }
  /// Appends those of a part that comes later.
  void append(const FaultGroups& later) {
    count_ += later.count_;
    for (const Group& group : later.groups_) {
      Group& mine = of(group.cause);
      mine.count += group.count;
      for (const Error& error : group.shown) {
        if (mine.shown.size() < kShownEach) mine.shown.push_back(error);
      }
    }
  }

  bool empty() const { return count_ == 0; }
  std::uint64_t count() const { return count_; }
  const std::vector<Group>& groups() const { return groups_; }  ///< in the order of their first faults

 private:
  Group& of(const std::string& cause) {
    const auto found = std::ranges::find(groups_, cause, &Group::cause);
    return found != groups_.end() ? *found : groups_.emplace_back(Group{cause, {}, 0});
  }
  std::uint64_t count_ = 0;
  std::vector<Group> groups_;
};

}  // namespace muster
