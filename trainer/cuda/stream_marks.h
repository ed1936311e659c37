#pragma once
// Marks in a GPU's streams, and what streams wait for each other by them.

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace muster {

/// A CUDA event of the current GPU. Errors are c10::Errors.
class StreamMark {
 public:
  /// `flags`: cudaEventDefault to be timed, which costs.
  explicit StreamMark(unsigned flags = cudaEventDisableTiming);
  ~StreamMark();
  StreamMark(const StreamMark&) = delete;
  StreamMark& operator=(const StreamMark&) = delete;

  void record(cudaStream_t stream);
  void wait_in(cudaStream_t stream);
  bool passed() const;
  /// Of two timed ones that have passed.
  static double seconds(const StreamMark& from, const StreamMark& until);

 private:
  cudaEvent_t event_ = nullptr;
};

/// How long streams of one GPU stood still. One thread; that GPU is the current one.
class Stalls {
 public:
  /// Puts `wait` between two marks of the stream.
  void around(cudaStream_t stream, const std::function<void()>& wait);
  /// Of the waits that are over.
  double seconds();

 private:
  struct Stall {
    std::unique_ptr<StreamMark> before = std::make_unique<StreamMark>(cudaEventDefault);
    std::unique_ptr<StreamMark> after = std::make_unique<StreamMark>(cudaEventDefault);
  };
  void settle();

  std::deque<Stall> open_;
  std::vector<Stall> free_;
  double seconds_ = 0;
};

}  // namespace muster
