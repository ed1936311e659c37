#pragma once
// A fault on purpose in a real training, for `muster selftest faults` and for whoever wants to see what their
// cluster does: `muster train CONFIG --drill segfault@20:1`.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/file_system.h"
#include "data_loader/dataset/dataset.h"

namespace torch::nn {
class Module;
}

namespace muster {

/// KIND@STEP:RANK; the fault strikes before step STEP (10 if not given) of this start on rank RANK (1).
class FaultDrill {
 public:
  /// Error{kUsage} for what is none; it lists the kinds.
  static FaultDrill parse(const std::string& text);
  /// Name and one line of each kind.
  static std::vector<std::pair<std::string, std::string>> kinds();

  int rank() const { return rank_; }
  /// On every rank, before each step of this start (from 0): lets it happen, where and when it is to.
  void before_step(int rank, std::uint64_t step, torch::nn::Module& model);
  /// The file system of a rank, with its fault from that step on. `inner` outlives it.
  std::unique_ptr<FileSystem> wrap(FileSystem& inner, int rank);
  /// The rank's clock, which jumps at that step; and its readers, which are slow from then on.
  std::function<double()> clock(int rank) const;
  ReaderWrapper reads(int rank) const;

 private:
  FaultDrill() = default;
  std::string kind_;
  std::uint64_t step_ = 10;
  int rank_ = 1;
  bool struck_ = false;
  std::shared_ptr<std::atomic<bool>> has_begun_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace muster
