// Ranks as threads: the collectives' results, their failures, and started sums.
#include "trainer/comm/communicator.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "core/error.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

using std::chrono::milliseconds;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text) {
  const auto view = std::as_bytes(std::span(text.data(), text.size()));
  return {view.begin(), view.end()};
}

TEST(LocalCommunicator, SumsAreMadeInRankOrder) {
  // In single precision the order of these four terms decides the result.
  const std::vector<float> terms{1e8F, 3.0F, -1e8F, 5.0F};
  const float expected = ((terms[0] + terms[1]) + terms[2]) + terms[3];
  ASSERT_NE(expected, ((terms[3] + terms[2]) + terms[1]) + terms[0]);
  run_local(4, [&](Communicator& comm) {
    for (int repetition = 0; repetition < 20; ++repetition) {
      std::vector<float> values(3, terms[static_cast<std::size_t>(comm.rank())]);
      comm.all_reduce_sum("sum", std::span(values));
      EXPECT_EQ(values, std::vector<float>(3, expected));
    }
  });
}

TEST(LocalCommunicator, SumsAllThreeTypes) {
  run_local(3, [](Communicator& comm) {
    const int rank = comm.rank();
    std::vector<double> doubles{rank + 0.5, -1.0};
    comm.all_reduce_sum("doubles", std::span(doubles));
    EXPECT_EQ(doubles, (std::vector<double>{4.5, -3.0}));
    std::vector<std::uint64_t> integers{~std::uint64_t{0}, static_cast<std::uint64_t>(rank)};
    comm.all_reduce_sum("integers", std::span(integers));
    EXPECT_EQ(integers, (std::vector<std::uint64_t>{~std::uint64_t{0} - 2, 3}));  // wraps
    std::vector<float> none;
    comm.all_reduce_sum("nothing", std::span(none));
    EXPECT_TRUE(none.empty());
  });
}

TEST(LocalCommunicator, BroadcastsFromAnyRoot) {
  run_local(3, [](Communicator& comm) {
    for (int root = 0; root < 3; ++root) {
      const std::string text =
          "from " + std::to_string(root) + std::string(static_cast<std::size_t>(root) * 1000, 'x');
      EXPECT_EQ(broadcast_text(comm, "text", comm.rank() == root ? text : "other", root), text);
      EXPECT_EQ(broadcast_text(comm, "empty", comm.rank() == root ? "" : "other", root), "");
    }
  });
}

TEST(LocalCommunicator, GathersAndExchangesDifferentSizes) {
  run_local(4, [](Communicator& comm) {
    const auto part = [](int from, int to) {
      return bytes_of(std::string(static_cast<std::size_t>(from * to), static_cast<char>('a' + from)));
    };
    const auto gathered = comm.all_gather("gather", part(comm.rank(), 3));
    ASSERT_EQ(gathered.size(), 4U);
    std::vector<Bytes> to;
    for (int target = 0; target < 4; ++target) to.push_back(part(comm.rank(), target));
    const auto received = comm.all_to_all("exchange", to);
    ASSERT_EQ(received.size(), 4U);
    for (int source = 0; source < 4; ++source) {
      EXPECT_EQ(gathered[static_cast<std::size_t>(source)], part(source, 3));
      EXPECT_EQ(received[static_cast<std::size_t>(source)], part(source, comm.rank()));
    }
  });
}

TEST(LocalCommunicator, BarrierHoldsUntilAllHaveCome) {
  std::atomic<int> come{0};
  run_local(5, [&](Communicator& comm) {
    std::this_thread::sleep_for(milliseconds(20 * comm.rank()));
    ++come;
    comm.barrier("all here");
    EXPECT_EQ(come.load(), 5);
    if (comm.rank() == 0) {
      EXPECT_GE(comm.wait_seconds(), 0.015);
    }
  });
}

TEST(LocalCommunicator, StartedSumsTakeTheirInputAtTheStart) {
  run_local(3, [](Communicator& comm) {
    std::vector<float> first(4, 1.0F);
    std::vector<float> second(2, static_cast<float>(comm.rank()));
    auto a = comm.start_all_reduce_sum("first", std::span(first));
    auto b = comm.start_all_reduce_sum("second", std::span(second));
    std::fill(first.begin(), first.end(), 100.0F);  // too late to count
    comm.barrier("between");
    b->wait();
    EXPECT_EQ(second, std::vector<float>(2, 3.0F));
    a->wait();
    a->wait();  // once more does nothing
    EXPECT_EQ(first, std::vector<float>(4, 3.0F));
    comm.start_all_reduce_sum("dropped", std::span(first)).reset();
    EXPECT_EQ(first, std::vector<float>(4, 9.0F));
  });
}

TEST(LocalCommunicator, TheDelayRunsWhileTheCallerComputes) {
  const LocalOptions options{.all_reduce_delay = milliseconds(100)};
  run_local(
      2,
      [](Communicator& comm) {
        std::vector<float> values(1, 1.0F);
        comm.barrier("start together");
        const auto start = std::chrono::steady_clock::now();
        const auto pending = comm.start_all_reduce_sum("slow", std::span(values));
        pending->wait();
        EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(100));
        EXPECT_GE(comm.wait_seconds(), 0.050);

        const double before = comm.wait_seconds();
        const auto hidden = comm.start_all_reduce_sum("hidden", std::span(values));
        std::this_thread::sleep_for(milliseconds(250));
        hidden->wait();
        EXPECT_LT(comm.wait_seconds() - before, 0.090);
      },
      options);
}

TEST(LocalCommunicator, ADeadlineNamesCollectiveNumberAndMissingRanks) {
  const LocalOptions options{.deadline = milliseconds(500)};
  auto ranks = make_local_communicators(4, options);
  std::vector<std::string> messages(4);
  std::vector<std::thread> threads;
  for (std::size_t rank : {0, 2}) {
    threads.emplace_back([&, rank] {
      try {
        ranks[rank]->barrier("verdict of step 7");
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kPeer);
        messages[rank] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(messages[0], "collective 'verdict of step 7' (#0) has waited 500 ms for ranks 1, 3");
  EXPECT_EQ(messages[2], messages[0]);
  EXPECT_THROW(ranks[1]->barrier("verdict of step 7"), Error);  // too late: the failure stays
}

TEST(LocalCommunicator, DifferentCollectivesFailOnAllRanks) {
  const auto mixed = [](const std::function<void(Communicator&)>& odd,
                        const std::function<void(Communicator&)>& even) {
    auto ranks = make_local_communicators(3);
    std::atomic<int> bugs{0};
    std::vector<std::thread> threads;
    for (auto& comm : ranks) {
      threads.emplace_back([&] {
        try {
          comm->rank() == 1 ? odd(*comm) : even(*comm);
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::kBug);
          EXPECT_NE(std::string(error.what()).find("collective #0"), std::string::npos) << error.what();
          ++bugs;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return bugs.load();
  };
  const auto barrier = [](Communicator& comm) { comm.barrier("a"); };
  EXPECT_EQ(mixed(barrier, [](Communicator& comm) { comm.barrier("b"); }), 3);
  EXPECT_EQ(mixed(barrier, [](Communicator& comm) { comm.all_gather("a", {}); }), 3);
  const auto sum_of = [](std::size_t count) {
    return [count](Communicator& comm) {
      std::vector<float> values(count);
      comm.all_reduce_sum("a", std::span(values));
    };
  };
  EXPECT_EQ(mixed(sum_of(2), sum_of(3)), 3);
}

TEST(RunLocal, RethrowsTheFirstErrorAndFreesTheOthers) {
  std::atomic<int> freed{0};
  try {
    run_local(4, [&](Communicator& comm) {
      if (comm.rank() == 2) throw Error(ErrorCode::kData, "bad row", "part:x[7]");
      try {
        comm.barrier("never complete");
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kPeer);
        EXPECT_STREQ(error.what(), "rank 2 failed: part:x[7]: bad row");
        ++freed;
        throw;
      }
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    EXPECT_STREQ(error.what(), "part:x[7]: bad row");
  }
  EXPECT_EQ(freed.load(), 3);
}

TEST(RunLocal, RandomProgramsGiveWhatOneThreadComputes) {
  std::array<int, 4> hits{};
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const int world = 1 + static_cast<int>(seed % 6);
    std::mt19937 program(seed);
    std::vector<std::uint32_t> calls(12);
    for (auto& call : calls) call = program();
    for (const std::uint32_t call : calls) ++hits[call % 4];
    run_local(world, [&](Communicator& comm) {
      const auto value = [&](std::uint32_t call, int rank) {
        return static_cast<double>((call >> 3) % 1000 * 7 + rank);
      };
      std::vector<std::pair<std::unique_ptr<PendingReduce>, float>> pending;
      std::vector<std::unique_ptr<float>> buffers;
      for (const std::uint32_t call : calls) {
        double sum = 0;
        for (int rank = 0; rank < world; ++rank) sum += value(call, rank);
        if (call % 4 == 0) comm.barrier("b");
        if (call % 4 == 1) {
          double mine = value(call, comm.rank());
          comm.all_reduce_sum("s", std::span(&mine, 1));
          EXPECT_EQ(mine, sum);
        }
        if (call % 4 == 2) {
          buffers.push_back(std::make_unique<float>(static_cast<float>(value(call, comm.rank()))));
          pending.emplace_back(comm.start_all_reduce_sum("p", std::span(buffers.back().get(), 1)),
                               static_cast<float>(sum));
        }
        if (call % 4 == 3) {
          double mine = value(call, comm.rank());
          const auto all = comm.all_gather("g", std::as_bytes(std::span(&mine, 1)));
          for (int rank = 0; rank < world; ++rank) {
            double theirs = 0;
            std::memcpy(&theirs, all[static_cast<std::size_t>(rank)].data(), sizeof theirs);
            EXPECT_EQ(theirs, value(call, rank));
          }
        }
      }
      for (std::size_t i = 0; i < pending.size(); ++i) {
        pending[i].first->wait();
        EXPECT_EQ(*buffers[i], pending[i].second);
      }
    });
  }
  for (const int hit : hits) EXPECT_GT(hit, 50);
}

}  // namespace
}  // namespace muster
