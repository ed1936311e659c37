#include "trainer/cuda/nccl_sums.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <utility>

#include "core/error.h"
#include "trainer/cuda/stream_marks.h"
#include "trainer/cuda/sum_ranks.h"

namespace muster {
namespace {

/// The communicator itself. NCCL wants one thread at a time; a failed one is aborted once, which ends the
/// kernels that wait for a lost peer.
class Link {
 public:
  Link(const std::string& id, int rank, int size, int index) : rank_(rank), size_(size), index_(index) {
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
  int rank() const { return rank_; }
  int size() const { return size_; }

  void all_reduce(float* values, std::size_t count, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    throw_if_aborted();
    check(ncclAllReduce(values, values, count, ncclFloat32, ncclSum, comm_, stream), "ncclAllReduce");
  }

  /// `to` and `from`: each rank's `count` numbers in bfloat16, in rank order.
  void all_to_all(const void* to, void* from, std::size_t count, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    throw_if_aborted();
    check(ncclGroupStart(), "ncclGroupStart");
    for (int peer = 0; peer < size_; ++peer) {
      const std::size_t first = static_cast<std::size_t>(peer) * count * kNarrowBytes;
      check(ncclSend(static_cast<const char*>(to) + first, count, ncclBfloat16, peer, comm_, stream),
            "ncclSend");
      check(ncclRecv(static_cast<char*>(from) + first, count, ncclBfloat16, peer, comm_, stream), "ncclRecv");
    }
    check(ncclGroupEnd(), "ncclGroupEnd");
  }

  /// `all`: each rank's `count` numbers in bfloat16, of which this rank's are there.
  void all_gather(void* all, std::size_t count, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    throw_if_aborted();
    const char* const mine = static_cast<char*>(all) + static_cast<std::size_t>(rank_) * count * kNarrowBytes;
    check(ncclAllGather(mine, all, count, ncclBfloat16, comm_, stream), "ncclAllGather");
  }

  /// Error{kPeer} with what a peer's end did to this one.
  void throw_if_failed() {
    const std::lock_guard lock(mutex_);
    throw_if_aborted();
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    if (state != ncclInProgress) check(state, "a sum of NCCL");
  }

 private:
  static constexpr std::size_t kNarrowBytes = 2;

  void throw_if_aborted() const {
    if (comm_ == nullptr) throw Error(ErrorCode::kPeer, failure_);
  }

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
  int size_;
  int index_;
  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;
  std::string failure_;
};

class NcclSum : public GpuSum {
 public:
  NcclSum(std::shared_ptr<Link> link, std::shared_ptr<Stalls> stalls, float* values, std::size_t count,
          SumPrecision precision, c10::cuda::CUDAStream stream)
      : link_(std::move(link)), stalls_(std::move(stalls)) {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(link_->index()));
    StreamMark before;
    before.record(c10::cuda::getCurrentCUDAStream());
    before.wait_in(stream);
    if (precision == SumPrecision::kBfloat16) {
      sum_narrow(values, count, stream);
    } else {
      link_->all_reduce(values, count, stream);
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
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
    stalls_->around(stream, [&] { after_->wait_in(stream); });
  }

 private:
  /// As ranks without a GPU sum by messages (message_sum_buffer.h), to the bit: a reduce-scatter in rank
  /// order, then an all-gather. NCCL's own sums of bfloat16 are rounded once a rank. All on the sum's stream,
  /// whose memory it is.
  void sum_narrow(float* values, std::size_t count, c10::cuda::CUDAStream stream) {
    constexpr std::size_t kAlign = 64;
    const auto ranks = static_cast<std::size_t>(link_->size());
    const std::size_t slice = ((count + ranks - 1) / ranks + kAlign - 1) / kAlign * kAlign;
    const c10::cuda::CUDAStreamGuard on(stream);
    const c10::AutoGradMode no_gradients(false);
    const auto length = [](std::size_t numbers) { return static_cast<std::int64_t>(numbers); };
    const auto floats = at::TensorOptions(at::kFloat).device(stream.device());
    const at::Tensor wide = at::from_blob(values, {length(count)}, floats);
    const at::Tensor narrow = at::zeros({length(ranks * slice)}, floats.dtype(at::kBFloat16));
    const at::Tensor received = at::empty({length(ranks), length(slice)}, narrow.options());
    narrow.narrow(0, 0, length(count)).copy_(wide);
    link_->all_to_all(narrow.const_data_ptr(), received.mutable_data_ptr(), slice, stream);
    const auto mine = static_cast<std::size_t>(link_->rank());
    sum_ranks(received, narrow.narrow(0, length(mine * slice), length(slice)));
    link_->all_gather(narrow.mutable_data_ptr(), slice, stream);
    wide.copy_(narrow.narrow(0, 0, length(count)));
  }

  std::shared_ptr<Link> link_;
  std::shared_ptr<Stalls> stalls_;
  std::optional<StreamMark> after_;
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
    return std::make_shared<NcclSum>(link_, stalls_, values, count, precision, stream_);
  }

  double stalled_seconds() override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(link_->index()));
    return stalls_->seconds();
  }

 private:
  std::shared_ptr<Link> link_;
  std::shared_ptr<Stalls> stalls_ = std::make_shared<Stalls>();
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
