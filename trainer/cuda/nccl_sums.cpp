#include "trainer/cuda/nccl_sums.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "core/error.h"

namespace muster {
namespace {

/// A mark in a stream; no timing, which costs.
class Event {
 public:
  Event() { C10_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { C10_CUDA_CHECK_WARN(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { C10_CUDA_CHECK(cudaEventRecord(event_, stream)); }
  void wait_in(cudaStream_t stream) { C10_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0)); }
  bool passed() const {
    const cudaError_t state = cudaEventQuery(event_);
    if (state == cudaErrorNotReady) return false;
    C10_CUDA_CHECK(state);
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// The communicator itself. NCCL wants one thread at a time; a failed one is aborted once, which ends the
/// kernels that wait for a lost peer.
class Link {
 public:
  Link(const std::string& id, int rank, int size, int index) : rank_(rank), index_(index) {
    ncclUniqueId unique;
    ensure(id.size() == sizeof unique, "an NCCL id of {} bytes", id.size());
    std::memcpy(&unique, id.data(), sizeof unique);
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
    check(ncclCommInitRank(&comm_, size, unique, rank), "ncclCommInitRank");
  }
  ~Link() {
    const std::lock_guard lock(mutex_);
    if (comm_ != nullptr)
      ncclCommAbort(comm_);  // no more sums: nothing is lost, and a lost peer is not waited for
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  int index() const { return index_; }

  void all_reduce(void* values, std::size_t count, ncclDataType_t type, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) throw Error(ErrorCode::kPeer, failure_);
    check(ncclAllReduce(values, values, count, type, ncclSum, comm_, stream), "ncclAllReduce");
  }

  /// Error{kPeer} with what a peer's end did to this one.
  void throw_if_failed() {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) throw Error(ErrorCode::kPeer, failure_);
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    if (state != ncclInProgress) check(state, "a sum of NCCL");
  }

 private:
  void check(ncclResult_t result, const char* what) {
    if (result == ncclSuccess) return;
    const char* const details = comm_ == nullptr ? nullptr : ncclGetLastError(comm_);
    failure_ =
        fmt::format("rank {}: {} failed: {}{}{}", rank_, what, ncclGetErrorString(result),
                    details == nullptr || *details == '\0' ? "" : ": ", details == nullptr ? "" : details);
    if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
    throw Error(ErrorCode::kPeer, failure_);
  }

  int rank_;
  int index_;
  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
  std::string failure_;
};

class NcclSum : public GpuSum {
 public:
  NcclSum(std::shared_ptr<Link> link, float* values, std::size_t count, SumPrecision precision,
          c10::cuda::CUDAStream stream)
      : link_(std::move(link)) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(link_->index()));
    Event before;
    before.record(c10::cuda::getCurrentCUDAStream());
    before.wait_in(stream);
    if (precision == SumPrecision::kBfloat16) {
      sum_narrow(values, count, stream);
    } else {
      link_->all_reduce(values, count, ncclFloat32, stream);
    }
    after_.emplace();
    after_->record(stream);
  }

  bool done() override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(link_->index()));
    if (after_->passed()) return true;
    link_->throw_if_failed();
    return false;
  }

  void join() override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(link_->index()));
    link_->throw_if_failed();
    after_->wait_in(c10::cuda::getCurrentCUDAStream());
  }

 private:
  /// What is narrow is made, summed and widened on the sum's stream, whose memory it is.
  void sum_narrow(float* values, std::size_t count, c10::cuda::CUDAStream stream) {
    const c10::cuda::CUDAStreamGuard on(stream);
    const c10::AutoGradMode no_gradients(false);
    const auto floats = at::TensorOptions(at::kFloat).device(stream.device());
    const at::Tensor wide = at::from_blob(values, {static_cast<std::int64_t>(count)}, floats);
    const at::Tensor narrow = wide.to(at::kBFloat16);
    link_->all_reduce(narrow.mutable_data_ptr(), count, ncclBfloat16, stream);
    wide.copy_(narrow);
  }

  std::shared_ptr<Link> link_;
  std::optional<Event> after_;
};

class NcclSums : public GpuSums {
 public:
  NcclSums(const std::string& id, int rank, int size, int index)
      : link_(std::make_shared<Link>(id, rank, size, index)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, static_cast<c10::DeviceIndex>(index))) {
  }

  std::shared_ptr<float> allocate(std::size_t floats) override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(link_->index()));
    auto* const memory =
        static_cast<float*>(c10::cuda::CUDACachingAllocator::raw_alloc(floats * sizeof(float)));
    const cudaStream_t stream = stream_.stream();
    const auto index = static_cast<c10::DeviceIndex>(link_->index());
    std::shared_ptr<float> values(memory, [stream, index](float* freed) {
      const c10::cuda::CUDAGuard on(index);
      C10_CUDA_CHECK_WARN(cudaStreamSynchronize(stream));  // no sum of it is under way
      c10::cuda::CUDACachingAllocator::raw_delete(freed);
    });
    clear(memory, floats);
    return values;
  }

  void clear(float* values, std::size_t count) override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(link_->index()));
    C10_CUDA_CHECK(cudaMemsetAsync(values, 0, count * sizeof(float), c10::cuda::getCurrentCUDAStream()));
  }

  std::shared_ptr<GpuSum> start(float* values, std::size_t count, SumPrecision precision) override {
    return std::make_shared<NcclSum>(link_, values, count, precision, stream_);
  }

 private:
  std::shared_ptr<Link> link_;
  c10::cuda::CUDAStream stream_;
};

}  // namespace

std::string new_nccl_id() {
  ncclUniqueId id;
  const ncclResult_t result = ncclGetUniqueId(&id);
  if (result != ncclSuccess)
    fail(ErrorCode::kPeer, "ncclGetUniqueId failed: {} (NCCL_SOCKET_IFNAME names the network to use)",
         ncclGetErrorString(result));
  return {reinterpret_cast<const char*>(&id), sizeof id};
}

std::unique_ptr<GpuSums> connect_nccl(const std::string& id, int rank, int size, int index) {
  return std::make_unique<NcclSums>(id, rank, size, index);
}

}  // namespace muster
