#include "trainer/comm/mpi_communicator.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/host_name.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/gather.h"
#include "trainer/comm/gpu_sum_buffer.h"
#include "trainer/comm/message_sum_buffer.h"
#include "trainer/comm/mpi_engine.h"
#include "trainer/comm/mpi_pending_reduce.h"
#include "trainer/comm/shared_parts.h"
#include "trainer/comm/shared_sum_buffer.h"

namespace muster {
namespace {

using Bytes = std::vector<std::byte>;

template <typename T>
MPI_Datatype type_of();
template <>
MPI_Datatype type_of<float>() {
  return MPI_FLOAT;
}
template <>
MPI_Datatype type_of<double>() {
  return MPI_DOUBLE;
}
template <>
MPI_Datatype type_of<std::uint64_t>() {
  return MPI_UINT64_T;
}

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(const MpiOptions& options, MPI_Comm parent)
      : engine_(std::make_shared<MpiEngine>(options, parent)),
        on_warning_(options.on_warning),
        shares_memory_(options.share_memory) {}

  int rank() const override { return engine_->rank(); }
  int size() const override { return engine_->size(); }

  void barrier(std::string_view name) override {
    finish(engine_->start(name, 1, [&](std::size_t, int, MPI_Request* request) {
      return MPI_Ibarrier(engine_->comm(), request);
    }));
  }

  void broadcast(std::string_view name, std::span<std::byte> bytes, int root) override {
    ensure(root >= 0 && root < size(), "broadcast '{}' from rank {} of {}", name, root, size());
    finish(engine_->start(name, bytes.size(), [&](std::size_t first, int count, MPI_Request* request) {
      return MPI_Ibcast(bytes.data() + first, count, MPI_BYTE, root, engine_->comm(), request);
    }));
  }

  void all_reduce_sum(std::string_view name, std::span<float> values) override {
    finish(start_sum(name, values));
  }
  void all_reduce_sum(std::string_view name, std::span<double> values) override {
    finish(start_sum(name, values));
  }
  void all_reduce_sum(std::string_view name, std::span<std::uint64_t> values) override {
    finish(start_sum(name, values));
  }

  std::unique_ptr<PendingReduce> start_all_reduce_sum(std::string_view name,
                                                      std::span<float> values) override {
    return pending_reduce(engine_, start_sum(name, values));
  }

  void sum_on_gpus(Gpus& gpus, int index) override {
    if (size() > 1) gpu_sums_ = connect_gpus(*engine_, *this, gpus, index);
  }

  std::unique_ptr<SumBuffer> make_sum_buffer(std::string_view name, std::size_t count,
                                             SumPrecision precision) override {
    if (gpu_sums_ != nullptr) return std::make_unique<GpuSumBuffer>(engine_, gpu_sums_, count, precision);
    if (size() == 1) return Communicator::make_sum_buffer(name, count, precision);
    if (!shares_memory_) return make_message_sum_buffer(engine_, count, precision);
    auto shared = share_parts(*this, name, count);
    if (shared.ok()) {
      has_shared_memory_ = true;
      return make_shared_sum_buffer(engine_, std::move(shared).value());
    }
    // What is too much here is so there; and in bfloat16 the bits would not be those that this run began
    // with.
    if (has_shared_memory_)
      throw AgreedError(Error(ErrorCode::kConfig,
                              fmt::format("'{}' does not fit in memory: {}", name, shared.error().message())),
                        rank() == 0);
    shares_memory_ = false;
    const std::vector<std::string> hosts = gather_texts(*this, name, host_name());
    const bool one_host = std::ranges::count(hosts, hosts.front()) == size();
    if (one_host && rank() == 0 && on_warning_)
      on_warning_(fmt::format("the ranks share no memory, their sums go by messages, which is slower ({})",
                              shared.error().message()));
    return make_message_sum_buffer(engine_, count, precision);
  }

  std::string sums(SumPrecision precision) override {
    const bool narrow = precision == SumPrecision::kBfloat16 && size() > 1;
    if (gpu_sums_ != nullptr && !narrow) return "by NCCL";
    return narrow && (gpu_sums_ != nullptr || sum_path() == kMessages) ? "in rank order, sent as bfloat16"
                                                                       : kRankOrder;
  }

  std::string sum_path() override {
    if (gpu_sums_ != nullptr) return "NCCL";
    if (size() == 1) return Communicator::sum_path();
    static_cast<void>(make_sum_buffer("shared memory", 1, SumPrecision::kFloat32));  // finds out
    return shares_memory_ ? "shared memory" : kMessages;
  }

  std::vector<Bytes> all_gather(std::string_view name, std::span<const std::byte> bytes) override {
    const std::uint64_t mine = bytes.size();
    std::vector<std::uint64_t> sizes(static_cast<std::size_t>(size()));
    finish(engine_->start(name, 1, [&](std::size_t, int, MPI_Request* request) {
      return MPI_Iallgather(&mine, 1, MPI_UINT64_T, sizes.data(), 1, MPI_UINT64_T, engine_->comm(), request);
    }));
    std::vector<Bytes> result;
    for (const std::uint64_t bytes_of_rank : sizes) result.emplace_back(bytes_of_rank);
    std::copy(bytes.begin(), bytes.end(), result[static_cast<std::size_t>(rank())].begin());
    // A broadcast of each rank's part, all at once: no limit on the sum of sizes, and no copy.
    const auto operation = engine_->start(name, 0, none);
    for (int root = 0; root < size(); ++root) {
      Bytes& part = result[static_cast<std::size_t>(root)];
      engine_->extend(*operation, part.size(), [&](std::size_t first, int count, MPI_Request* request) {
        return MPI_Ibcast(part.data() + first, count, MPI_BYTE, root, engine_->comm(), request);
      });
    }
    finish(operation);
    return result;
  }

  std::vector<Bytes> all_to_all(std::string_view name, std::span<const Bytes> to) override {
    ensure(to.size() == static_cast<std::size_t>(size()), "all-to-all '{}' has {} parts for {} ranks", name,
           to.size(), size());
    std::vector<std::uint64_t> sent;
    for (const Bytes& part : to) sent.push_back(part.size());
    std::vector<std::uint64_t> received(to.size());
    finish(engine_->start(name, 1, [&](std::size_t, int, MPI_Request* request) {
      return MPI_Ialltoall(sent.data(), 1, MPI_UINT64_T, received.data(), 1, MPI_UINT64_T, engine_->comm(),
                           request);
    }));
    std::vector<Bytes> result;
    const auto operation = engine_->start(name, 0, none);
    for (int source = 0; source < size(); ++source) {
      Bytes& part = result.emplace_back(received[static_cast<std::size_t>(source)]);
      engine_->extend(*operation, part.size(), [&](std::size_t first, int count, MPI_Request* request) {
        return MPI_Irecv(part.data() + first, count, MPI_BYTE, source, 0, engine_->comm(), request);
      });
    }
    for (int target = 0; target < size(); ++target) {
      const Bytes& part = to[static_cast<std::size_t>(target)];
      engine_->extend(*operation, part.size(), [&](std::size_t first, int count, MPI_Request* request) {
        return MPI_Isend(part.data() + first, count, MPI_BYTE, target, 0, engine_->comm(), request);
      });
    }
    finish(operation);
    return result;
  }

  void observe(const Observer& observer) override { engine_->observe(observer); }
  double wait_seconds() const override { return engine_->wait_seconds(); }
  std::optional<double> gpu_wait_seconds() override {
    if (gpu_sums_ == nullptr) return std::nullopt;
    return gpu_sums_->stalled_seconds();
  }

 private:
  static constexpr const char* kMessages = "messages";

  static int none(std::size_t, int, MPI_Request*) { return MPI_SUCCESS; }

  template <typename T>
  std::shared_ptr<MpiOperation> start_sum(std::string_view name, std::span<T> values) {
    return engine_->start(name, values.size(), [&](std::size_t first, int count, MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, values.data() + first, count, type_of<T>(), MPI_SUM,
                            engine_->comm(), request);
    });
  }

  void finish(const std::shared_ptr<MpiOperation>& operation) { engine_->wait(*operation); }

  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<GpuSums> gpu_sums_;  ///< null: sums are made on the CPU
  std::function<void(const std::string&)> on_warning_;
  bool shares_memory_;              ///< as far as is known; the same on all ranks
  bool has_shared_memory_ = false;  ///< it was seen to
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const MpiOptions& options, const void* mpi_comm) {
  int initialized = 0;
  int level = MPI_THREAD_SINGLE;
  MPI_Initialized(&initialized);
  if (initialized) MPI_Query_thread(&level);
  ensure(initialized && level >= MPI_THREAD_SERIALIZED,
         "MPI must be initialised by MPI_Init_thread with MPI_THREAD_SERIALIZED or more before a "
         "communicator is made");
  return std::make_unique<MpiCommunicator>(
      options, mpi_comm ? *static_cast<const MPI_Comm*>(mpi_comm) : MPI_COMM_WORLD);
}

}  // namespace muster
