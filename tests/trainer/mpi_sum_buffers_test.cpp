// Buffers that the ranks sum again and again: in shared memory, by messages, on GPUs; run under mpirun.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <thread>

#include "core/error.h"
#include "tests/trainer/rank_values.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/bfloat16.h"
#include "trainer/comm/gpu.h"
#include "trainer/comm/mpi_communicator.h"

namespace muster {
namespace {

/// Once with whole calls, once cut into pieces of a few items, as counts beyond an int would be.
class MpiSumBuffersTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  std::unique_ptr<Communicator> comm_ = make_mpi_communicator({.max_count = GetParam()});
  const int rank_ = comm_->rank();
  const int size_ = comm_->size();
  const bool small_pieces_ = GetParam() < 100;
};

/// Rounds of a buffer's sums, with others under way beside them.
void expect_buffer_sums(Communicator& comm, std::size_t count, int rounds, float tolerance) {
  const auto first = comm.make_sum_buffer("first", count);
  const auto second = comm.make_sum_buffer("second", 7);
  ASSERT_EQ(first->values().size(), count);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first->values().data()) % 64, 0U);
  for (const float value : first->values()) ASSERT_EQ(value, 0);
  for (int round = 0; round < rounds; ++round) {
    std::vector<float> expected(count);
    for (int rank = 0; rank < comm.size(); ++rank) {
      const auto terms = testing::values_of<float>(rank + 10 * round, count);
      for (std::size_t i = 0; i < count; ++i) expected[i] += terms[i];
    }
    const auto mine = testing::values_of<float>(comm.rank() + 10 * round, count);
    std::ranges::copy(mine, first->values().begin());
    std::ranges::fill(second->values(), static_cast<float>(comm.rank() + round));
    if (comm.rank() == round % comm.size()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const auto first_sum = first->start("first");
    const auto second_sum = second->start("second");
    const auto gathered = comm.all_gather("between", std::as_bytes(std::span(&round, 1)));
    EXPECT_EQ(gathered.size(), static_cast<std::size_t>(comm.size()));
    first_sum->wait();
    second_sum->wait();
    for (std::size_t i = 0; i < count; ++i)
      ASSERT_NEAR(first->values()[i], expected[i], tolerance * std::abs(expected[i])) << i << " of " << count;
    const float sum_of_ranks = static_cast<float>(comm.size() * (comm.size() - 1)) / 2;
    for (const float value : second->values())
      ASSERT_EQ(value, sum_of_ranks + static_cast<float>(comm.size() * round));
  }
}

TEST_P(MpiSumBuffersTest, BuffersAreSummedAgainAndAgain) {
  for (const bool share : {true, false}) {
    std::vector<std::string> warnings;
    MpiOptions options{.max_count = GetParam()};
    options.share_memory = share;
    options.on_warning = [&](const std::string& line) { warnings.push_back(line); };
    const auto comm = make_mpi_communicator(options);
    for (const std::size_t count : {0, 1, 1000, 786'432}) {
      if (small_pieces_ && count > 1000) continue;
      expect_buffer_sums(*comm, count, 5, 0.0F);
    }
    EXPECT_EQ(comm->sums(), Communicator::kRankOrder);
    if (size_ > 1) {
      EXPECT_EQ(comm->sum_path(), share ? "shared memory" : "messages");
    }
    EXPECT_TRUE(warnings.empty()) << warnings.front();  // else it was not the memory that was tried
  }
}

TEST_P(MpiSumBuffersTest, MessagesInBfloat16AddRoundedTermsInRankOrderAndRoundTheSum) {
  if (size_ == 1) GTEST_SKIP() << "of several ranks";
  MpiOptions options{.max_count = GetParam()};
  options.share_memory = false;
  const auto comm = make_mpi_communicator(options);
  EXPECT_EQ(comm->sums(SumPrecision::kBfloat16), "in rank order, sent as bfloat16");
  const auto round = [](float value) { return from_bfloat16(to_bfloat16(value)); };
  for (const std::size_t count : {0, 1, 1000, 300'001}) {
    if (small_pieces_ && count > 1000) continue;
    const auto buffer = comm->make_sum_buffer("narrow", count, SumPrecision::kBfloat16);
    const auto beside = comm->make_sum_buffer("beside", count, SumPrecision::kBfloat16);
    for (int step = 0; step < 3; ++step) {
      std::ranges::copy(testing::values_of<float>(rank_ + step, count), buffer->values().begin());
      std::ranges::fill(beside->values(), 1.0F);
      const auto sum = buffer->start("narrow");
      const auto other = beside->start("beside");
      other->wait();
      sum->wait();
      std::vector<float> expected(count);
      for (int rank = 0; rank < size_; ++rank) {
        const auto terms = testing::values_of<float>(rank + step, count);
        for (std::size_t i = 0; i < count; ++i)
          expected[i] = rank == 0 ? round(terms[i]) : expected[i] + round(terms[i]);
      }
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(buffer->values()[i], round(expected[i])) << i;
      for (const float value : beside->values()) ASSERT_EQ(value, static_cast<float>(size_));
    }
  }
  // Where ranks share memory nothing has to be rounded.
  const auto sharing = make_mpi_communicator({.max_count = GetParam()});
  EXPECT_EQ(sharing->sums(SumPrecision::kBfloat16), Communicator::kRankOrder);
}

/// GPU memory that is the host's, and sums that a communicator of their own makes; can lose a peer.
class HostSums : public GpuSums {
 public:
  HostSums(int size, std::shared_ptr<std::atomic<bool>> lost) : size_(size), lost_(std::move(lost)) {}
  std::shared_ptr<float> allocate(std::size_t floats) override {
    const auto memory = aligned_allocator()(floats * sizeof(float));
    std::fill_n(reinterpret_cast<float*>(memory.get()), floats, 0.0F);
    return {memory, reinterpret_cast<float*>(memory.get())};
  }
  void clear(float* values, std::size_t count) override { std::fill_n(values, count, 0.0F); }
  std::shared_ptr<GpuSum> start(float* values, std::size_t count, SumPrecision) override {
    EXPECT_EQ(comm_->size(), size_);
    return std::make_shared<Sum>(comm_->start_all_reduce_sum("on the GPU", {values, count}), lost_);
  }
  double stalled_seconds() override { return kStalled; }
  static constexpr double kStalled = 0.25;

 private:
  class Sum : public GpuSum {
   public:
    Sum(std::unique_ptr<PendingReduce> pending, std::shared_ptr<std::atomic<bool>> lost)
        : pending_(std::move(pending)), lost_(std::move(lost)) {}
    bool done() override {
      if (*lost_) throw std::runtime_error("rank 3 is gone\nsays CUDA");
      return done_;
    }
    void join() override {
      pending_->wait();
      done_ = true;
    }

   private:
    std::unique_ptr<PendingReduce> pending_;
    std::shared_ptr<std::atomic<bool>> lost_;
    std::atomic<bool> done_ = false;
  };
  int size_;
  std::unique_ptr<Communicator> comm_ = make_mpi_communicator({.share_memory = false});
  std::shared_ptr<std::atomic<bool>> lost_;
};

class HostGpus : public Gpus {
 public:
  std::shared_ptr<std::atomic<bool>> lost = std::make_shared<std::atomic<bool>>(false);
  int count() const override { return 1; }
  GpuInfo info(int) const override { return {}; }
  std::uint64_t free_bytes(int) const override { return 0; }
  std::uint64_t peak_bytes(int) const override { return 0; }
  void select(int) override {}
  std::string version() const override { return ""; }
  std::unique_ptr<GpuGraph> record(const std::function<void()>&) override { return nullptr; }
  BufferAllocator pinned_allocator() override { return aligned_allocator(); }
  std::string new_id() override { return "the id"; }
  std::unique_ptr<GpuSums> connect(const std::string& id, int, int size, int index) override {
    EXPECT_EQ(id, "the id");
    EXPECT_EQ(index, 5);
    return std::make_unique<HostSums>(size, lost);
  }
};

TEST_P(MpiSumBuffersTest, BuffersOfGpusAreNumberedAndWatchedAsAllElse) {
  HostGpus gpus;
  const auto comm = make_mpi_communicator({.max_count = GetParam()});
  comm->sum_on_gpus(gpus, 5);
  EXPECT_EQ(comm->sums(), size_ == 1 ? Communicator::kRankOrder : "by NCCL");
  EXPECT_EQ(comm->sums(SumPrecision::kBfloat16),
            size_ == 1 ? Communicator::kRankOrder : "in rank order, sent as bfloat16");
  EXPECT_EQ(comm->gpu_wait_seconds(), size_ == 1 ? std::nullopt : std::optional(HostSums::kStalled));
  expect_buffer_sums(*comm, 1000, 5, 1e-6F);
  if (size_ == 1) return;
  const auto buffer = comm->make_sum_buffer("lost", 4);
  std::ranges::fill(buffer->values(), 1.0F);
  buffer->clear(buffer->values().subspan(1, 2));
  EXPECT_EQ(buffer->values()[0] + buffer->values()[1] + buffer->values()[2] + buffer->values()[3], 2);
  const auto sum = buffer->start("lost");
  *gpus.lost = true;
  try {  // the progress thread finds it; what is next tells it
    while (true) comm->barrier("after");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kPeer);
    EXPECT_NE(error.message().find("rank 3 is gone"), std::string::npos) << error.message();
  }
  sum->wait();
}

/// For this process's files and shared memory, while it lives.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  SizeLimit(const SizeLimit&) = delete;
  SizeLimit& operator=(const SizeLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_P(MpiSumBuffersTest, ARankThatCannotShareMemoryMakesAllSendMessages) {
  if (size_ == 1) GTEST_SKIP() << "of several ranks";
  std::vector<std::string> warnings;
  MpiOptions options{.max_count = GetParam()};
  options.on_warning = [&](const std::string& line) { warnings.push_back(line); };
  const auto comm = make_mpi_communicator(options);
  {
    std::optional<SizeLimit> limit;
    if (rank_ == size_ - 1) limit.emplace(100);
    expect_buffer_sums(*comm, 1000, 2, 0.0F);
  }
  EXPECT_EQ(comm->sum_path(), "messages");
  EXPECT_EQ(warnings.size(), rank_ == 0 ? 1U : 0U);
  if (rank_ == 0) {
    EXPECT_NE(warnings[0].find("share no memory"), std::string::npos) << warnings[0];
  }

  // Once some was shared, what does not fit is an error that all ranks know of.
  const auto other = make_mpi_communicator({.max_count = GetParam()});
  EXPECT_EQ(other->sum_path(), "shared memory");
  std::optional<SizeLimit> limit;
  if (rank_ == 0) limit.emplace(100);
  try {
    other->make_sum_buffer("large", 1000);
    ADD_FAILURE() << "it was made";
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_EQ(error.mine(), rank_ == 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Pieces, MpiSumBuffersTest, ::testing::Values(std::size_t{1} << 30, std::size_t{7}));

}  // namespace
}  // namespace muster
