// The collectives over real MPI, on any number of ranks; run under mpirun.
#include "trainer/mpi_communicator.h"

#include <gtest/gtest.h>
#include <mpi.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>

#include "core/error.h"
#include "core/hash.h"
#include "trainer/agreement.h"
#include "trainer/bfloat16.h"
#include "trainer/gpu.h"

namespace muster {
namespace {

using Bytes = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

/// Once with whole calls, once cut into pieces of a few items, as counts beyond an int would be.
class MpiCommunicatorTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  std::unique_ptr<Communicator> comm_ = make_mpi_communicator({.max_count = GetParam()});
  const int rank_ = comm_->rank();
  const int size_ = comm_->size();
  const bool small_pieces_ = GetParam() < 100;
};

/// The same values for all who ask for this rank's.
template <typename T>
std::vector<T> values_of(int rank, std::size_t count) {
  std::mt19937 random(static_cast<std::uint32_t>(rank));
  std::vector<T> values(count);
  for (T& value : values) value = static_cast<T>(random() % 2'000'001) / static_cast<T>(3);
  return values;
}

Bytes bytes_between(int from, int to, std::size_t unit) {
  return Bytes(static_cast<std::size_t>((from + to) % 3) * unit, static_cast<std::byte>(16 * from + to));
}

std::string hash_of(std::span<const float> values) { return sha256(std::as_bytes(values)).hex(); }

template <typename T>
void expect_sums(Communicator& comm, std::size_t count, double tolerance) {
  std::vector<T> values = values_of<T>(comm.rank(), count);
  comm.all_reduce_sum("sum", std::span(values));
  std::vector<double> expected(count);
  for (int rank = 0; rank < comm.size(); ++rank) {
    const auto terms = values_of<T>(rank, count);
    for (std::size_t i = 0; i < count; ++i) expected[i] += static_cast<double>(terms[i]);
  }
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_NEAR(static_cast<double>(values[i]), expected[i], tolerance * std::abs(expected[i]))
        << i << " of " << count;
  }
}

TEST_P(MpiCommunicatorTest, Sums) {
  for (const std::size_t count : {0, 1, 6, 7, 8, 1000, 786'432}) {
    if (small_pieces_ && count > 1000) continue;
    expect_sums<float>(*comm_, count, 1e-6);
    expect_sums<double>(*comm_, count, 1e-15);
    expect_sums<std::uint64_t>(*comm_, count, 0);
  }
}

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
      const auto terms = values_of<float>(rank + 10 * round, count);
      for (std::size_t i = 0; i < count; ++i) expected[i] += terms[i];
    }
    const auto mine = values_of<float>(comm.rank() + 10 * round, count);
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

TEST_P(MpiCommunicatorTest, BuffersAreSummedAgainAndAgain) {
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

TEST_P(MpiCommunicatorTest, MessagesInBfloat16AddRoundedTermsInRankOrderAndRoundTheSum) {
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
      std::ranges::copy(values_of<float>(rank_ + step, count), buffer->values().begin());
      std::ranges::fill(beside->values(), 1.0F);
      const auto sum = buffer->start("narrow");
      const auto other = beside->start("beside");
      other->wait();
      sum->wait();
      std::vector<float> expected(count);
      for (int rank = 0; rank < size_; ++rank) {
        const auto terms = values_of<float>(rank + step, count);
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
  BufferAllocator pinned_allocator() override { return aligned_allocator(); }
  std::string new_id() override { return "the id"; }
  std::unique_ptr<GpuSums> connect(const std::string& id, int, int size, int index) override {
    EXPECT_EQ(id, "the id");
    EXPECT_EQ(index, 5);
    return std::make_unique<HostSums>(size, lost);
  }
};

TEST_P(MpiCommunicatorTest, BuffersOfGpusAreNumberedAndWatchedAsAllElse) {
  HostGpus gpus;
  const auto comm = make_mpi_communicator({.max_count = GetParam()});
  comm->sum_on_gpus(gpus, 5);
  EXPECT_EQ(comm->sums(), size_ == 1 ? Communicator::kRankOrder : "by NCCL");
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

TEST_P(MpiCommunicatorTest, ARankThatCannotShareMemoryMakesAllSendMessages) {
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

TEST_P(MpiCommunicatorTest, SumsAreTheSameBitsOnEveryRankAndEveryTime) {
  for (const std::size_t count : {5, 3001, 786'432}) {
    if (small_pieces_ && count > 5000) continue;
    std::string first;
    for (int repetition = 0; repetition < 4; ++repetition) {
      std::vector<float> values = values_of<float>(rank_, count);
      std::vector<float> started = values;
      comm_->all_reduce_sum("sum", std::span(values));
      comm_->start_all_reduce_sum("started", std::span(started))->wait();
      EXPECT_EQ(values, started);
      if (first.empty()) first = hash_of(values);
      EXPECT_EQ(hash_of(values), first);
    }
    for (const Bytes& hash : comm_->all_gather("hashes", std::as_bytes(std::span(first)))) {
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(hash.data()), hash.size()), first);
    }
  }
}

TEST_P(MpiCommunicatorTest, Broadcasts) {
  for (int root = 0; root < size_; ++root) {
    for (const std::size_t count : {0, 1, 7, 500, 3'000'000}) {
      if (small_pieces_ && count > 1000) continue;
      const std::string text(count, static_cast<char>('a' + root));
      EXPECT_EQ(broadcast_text(*comm_, "text", rank_ == root ? text : "other", root), text);
    }
  }
}

TEST_P(MpiCommunicatorTest, GathersDifferentSizes) {
  for (const std::size_t unit : {0, 1, 7, 100, 1'000'000}) {
    if (small_pieces_ && unit > 100) continue;
    const auto gathered = comm_->all_gather("gather", bytes_between(rank_, 1, unit));
    ASSERT_EQ(gathered.size(), static_cast<std::size_t>(size_));
    for (int rank = 0; rank < size_; ++rank) {
      EXPECT_TRUE(gathered[static_cast<std::size_t>(rank)] == bytes_between(rank, 1, unit)) << rank;
    }
  }
}

TEST_P(MpiCommunicatorTest, ExchangesDifferentSizes) {
  for (const std::size_t unit : {0, 1, 7, 100, 1'000'000}) {
    if (small_pieces_ && unit > 100) continue;
    std::vector<Bytes> to;
    for (int rank = 0; rank < size_; ++rank) to.push_back(bytes_between(rank_, rank, unit));
    const auto received = comm_->all_to_all("exchange", to);
    ASSERT_EQ(received.size(), to.size());
    for (int rank = 0; rank < size_; ++rank) {
      EXPECT_TRUE(received[static_cast<std::size_t>(rank)] == bytes_between(rank, rank_, unit)) << rank;
    }
  }
}

TEST_P(MpiCommunicatorTest, ManySumsOutstandingWithOtherCollectivesBetween) {
  constexpr std::size_t kSums = 40;
  std::vector<std::vector<float>> values;
  std::vector<std::unique_ptr<PendingReduce>> pending;
  for (std::size_t i = 0; i < kSums; ++i) values.emplace_back(i * 11, static_cast<float>(rank_ + 1));
  for (std::size_t i = 0; i < kSums; ++i) {
    pending.push_back(comm_->start_all_reduce_sum("bucket", std::span(values[i])));
    if (i % 8 == 0) comm_->barrier("between");
  }
  while (!pending.empty()) {  // the last first; one in three is dropped instead of waited for
    if (pending.size() % 3 != 0) pending.back()->wait();
    pending.pop_back();
  }
  const auto expected = static_cast<float>(size_ * (size_ + 1)) / 2;
  for (std::size_t i = 0; i < kSums; ++i) EXPECT_EQ(values[i], std::vector<float>(i * 11, expected));
}

INSTANTIATE_TEST_SUITE_P(Pieces, MpiCommunicatorTest,
                         ::testing::Values(std::size_t{1} << 30, std::size_t{7}));

TEST(MpiProgress, ASumGoesOnBehindAComputationThatCallsNoMpi) {
  const auto comm = make_mpi_communicator();
  std::vector<float> values(1 << 20, 1.0F);
  comm->barrier("start together");
  const auto start = Clock::now();
  const auto pending = comm->start_all_reduce_sum("bucket", std::span(values));
  // Without rank 0's part nobody else can finish, and rank 0 makes no MPI call on this thread.
  if (comm->rank() == 0) std::this_thread::sleep_for(std::chrono::seconds(2));
  const double before = comm->wait_seconds();
  pending->wait();
  if (comm->rank() == 0) {
    EXPECT_LT(comm->wait_seconds() - before, 1.0);
  } else {
    EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(1500));
  }
  EXPECT_EQ(values.back(), static_cast<float>(comm->size()));
}

TEST(MpiProgress, AFinishedSumThatNobodyWaitsForIsNotOverdue) {
  const auto comm = make_mpi_communicator({.deadline = std::chrono::milliseconds(1500)});
  std::vector<float> values(3, 1.0F);
  comm->barrier("start together");
  const auto pending = comm->start_all_reduce_sum("bucket", std::span(values));
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  pending->wait();
  EXPECT_EQ(values[0], static_cast<float>(comm->size()));
}

TEST(MpiCommunicatorOf, WrapsAnotherCommunicator) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm half = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
  {
    const auto comm = make_mpi_communicator({}, static_cast<const void*>(&half));
    EXPECT_EQ(comm->rank(), rank / 2);
    std::uint64_t sum = static_cast<std::uint64_t>(rank % 2);
    comm->all_reduce_sum("halves", std::span(&sum, 1));
    EXPECT_EQ(sum, rank % 2 == 0 ? 0U : static_cast<std::uint64_t>(comm->size()));
  }
  MPI_Comm_free(&half);
}

TEST(MpiCommunicatorOf, CountsTheSecondsItIsBlocked) {
  const auto comm = make_mpi_communicator();
  comm->barrier("start together");
  const double before = comm->wait_seconds();
  if (comm->rank() == comm->size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(400));
  comm->barrier("the last one is late");
  if (comm->rank() == 0 && comm->size() > 1) {
    EXPECT_GT(comm->wait_seconds() - before, 0.05);
  }
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
  const int failed = RUN_ALL_TESTS();
  MPI_Finalize();
  return failed;
}
