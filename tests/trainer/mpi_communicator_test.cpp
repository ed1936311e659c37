// The collectives over real MPI, on any number of ranks; run under mpirun.
#include "trainer/comm/mpi_communicator.h"

#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <thread>

#include "core/error.h"
#include "core/hash.h"
#include "tests/trainer/rank_values.h"

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

Bytes bytes_between(int from, int to, std::size_t unit) {
  return Bytes(static_cast<std::size_t>((from + to) % 3) * unit, static_cast<std::byte>(16 * from + to));
}

std::string hash_of(std::span<const float> values) { return sha256(std::as_bytes(values)).hex(); }

template <typename T>
void expect_sums(Communicator& comm, std::size_t count, double tolerance) {
  std::vector<T> values = testing::values_of<T>(comm.rank(), count);
  comm.all_reduce_sum("sum", std::span(values));
  std::vector<double> expected(count);
  for (int rank = 0; rank < comm.size(); ++rank) {
    const auto terms = testing::values_of<T>(rank, count);
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

TEST_P(MpiCommunicatorTest, SumsAreTheSameBitsOnEveryRankAndEveryTime) {
  for (const std::size_t count : {5, 3001, 786'432}) {
    if (small_pieces_ && count > 5000) continue;
    std::string first;
    for (int repetition = 0; repetition < 4; ++repetition) {
      std::vector<float> values = testing::values_of<float>(rank_, count);
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
