#include "trainer/cuda/stream_marks.h"

#include <c10/cuda/CUDAException.h>

#include <utility>

namespace muster {

StreamMark::StreamMark(unsigned flags) { C10_CUDA_CHECK(cudaEventCreateWithFlags(&event_, flags)); }

StreamMark::~StreamMark() { C10_CUDA_CHECK_WARN(cudaEventDestroy(event_)); }

void StreamMark::record(cudaStream_t stream) { C10_CUDA_CHECK(cudaEventRecord(event_, stream)); }

void StreamMark::wait_in(cudaStream_t stream) { C10_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0)); }

bool StreamMark::passed() const {
  const cudaError_t state = cudaEventQuery(event_);
  if (state == cudaErrorNotReady) return false;
  C10_CUDA_CHECK(state);
  return true;
}

double StreamMark::seconds(const StreamMark& from, const StreamMark& until) {
  float milliseconds = 0;
  C10_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, from.event_, until.event_));
  return milliseconds / 1e3;
}

void Stalls::around(cudaStream_t stream, const std::function<void()>& wait) {
  settle();
  if (free_.empty()) free_.emplace_back();
  Stall& stall = open_.emplace_back(std::move(free_.back()));
  free_.pop_back();
  stall.before->record(stream);
  wait();
  stall.after->record(stream);
}

double Stalls::seconds() {
  settle();
  return seconds_;
}

void Stalls::settle() {
  while (!open_.empty() && open_.front().after->passed()) {
    seconds_ += StreamMark::seconds(*open_.front().before, *open_.front().after);
    free_.push_back(std::move(open_.front()));
    open_.pop_front();
  }
}

}  // namespace muster
