#pragma once
// A communicator of one of two ranks, whose peer adds nothing, that remembers what it was given, and when.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "trainer/comm/communicator.h"

namespace muster::testing {

class RecordingCommunicator : public Communicator {
 public:
  struct Started {
    std::string name;
    bool in_backward = false;
    std::vector<float> values;  ///< as they were when the reduction started
  };
  std::vector<Started> started;
  bool in_backward = false;  ///< set by the test around its backward pass

  int rank() const override { return 0; }
  int size() const override { return 2; }
  void barrier(std::string_view) override {}
  void broadcast(std::string_view, std::span<std::byte>, int) override {}
  void all_reduce_sum(std::string_view, std::span<float>) override {}
  void all_reduce_sum(std::string_view, std::span<double>) override {}
  void all_reduce_sum(std::string_view, std::span<std::uint64_t>) override {}
  std::unique_ptr<PendingReduce> start_all_reduce_sum(std::string_view name,
                                                      std::span<float> values) override {
    started.push_back({std::string(name), in_backward, {values.begin(), values.end()}});
    return std::make_unique<Done>();
  }
  std::vector<std::vector<std::byte>> all_gather(std::string_view,
                                                 std::span<const std::byte> bytes) override {
    return {{bytes.begin(), bytes.end()}};
  }
  std::vector<std::vector<std::byte>> all_to_all(std::string_view,
                                                 std::span<const std::vector<std::byte>> to) override {
    return {to.begin(), to.end()};
  }
  double wait_seconds() const override { return 0; }

 private:
  struct Done : PendingReduce {
    void wait() override {}
  };
};

}  // namespace muster::testing
