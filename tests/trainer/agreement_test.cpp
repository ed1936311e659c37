// A failure on one rank ends all of them, none hangs, and only one calls the failure its own.
#include "trainer/comm/agreement.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "trainer/checkpoint/tensor_exchange.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

/// What each rank's `body` throws; all must throw.
std::vector<AgreedError> errors_of(int world, const std::function<void(Communicator&)>& body) {
  std::vector<std::optional<AgreedError>> errors(static_cast<std::size_t>(world));
  run_local(world, [&](Communicator& comm) {
    try {
      body(comm);
    } catch (const AgreedError& error) {
      errors[static_cast<std::size_t>(comm.rank())] = error;
    }
    comm.barrier("still in step");
  });
  std::vector<AgreedError> all;
  for (const auto& error : errors) {
    EXPECT_TRUE(error.has_value());
    if (error) all.push_back(*error);
  }
  return all;
}

TEST(Agreement, AnErrorOnOneRankReachesAll) {
  for (const int world : {1, 2, 5}) {
    for (int failing = 0; failing < world; ++failing) {
      const auto errors = errors_of(world, [&](Communicator& comm) {
        together(comm, "open", [&]() -> int {
          if (comm.rank() == failing) throw Error(ErrorCode::kData, "is bad \xff", "file.h5:x[3]");
          return 1;
        });
      });
      int mine = 0;
      for (const AgreedError& error : errors) {
        EXPECT_EQ(error.code(), ErrorCode::kData);
        EXPECT_EQ(error.where(), "file.h5:x[3]");
        EXPECT_EQ(error.message().substr(0, 7), "is bad ");
        mine += error.mine() ? 1 : 0;
      }
      EXPECT_EQ(mine, 1);
      EXPECT_TRUE(errors.at(static_cast<std::size_t>(failing)).mine());
    }
  }
}

TEST(Agreement, OfSeveralErrorsTheLowestRanksCounts) {
  const auto errors = errors_of(4, [](Communicator& comm) {
    together(comm, "open", [&]() -> int {
      if (comm.rank() >= 2) throw Error(ErrorCode::kStorage, "of rank " + std::to_string(comm.rank()));
      return 1;
    });
  });
  for (std::size_t rank = 0; rank < errors.size(); ++rank) {
    EXPECT_EQ(errors[rank].message(), "of rank 2");
    EXPECT_EQ(errors[rank].mine(), rank == 2);
  }
}

TEST(Agreement, AnyOtherExceptionIsABug) {
  const auto errors = errors_of(2, [](Communicator& comm) {
    together(comm, "open", [&]() -> int {
      if (comm.rank() == 1) throw std::out_of_range("of a vector");
      return 1;
    });
  });
  EXPECT_EQ(errors.at(0).code(), ErrorCode::kBug);
  EXPECT_EQ(errors.at(0).message(), "of a vector");
}

TEST(Agreement, WithoutErrorsEachRankGetsItsValue) {
  run_local(3, [](Communicator& comm) {
    agree(comm, "fine", std::nullopt);
    const auto value = together(comm, "value", [&] { return std::make_unique<int>(comm.rank()); });
    EXPECT_EQ(*value, comm.rank());
  });
}

TEST(OnRankZero, RunsOnceAndGivesItsTextToAll) {
  std::atomic<int> runs{0};
  const std::string text(100'000, 'x');
  run_local(3, [&](Communicator& comm) {
    const std::string got = on_rank_zero(comm, "text", [&] {
      runs += 1;
      EXPECT_EQ(comm.rank(), 0);
      return text;
    });
    EXPECT_EQ(got, text);
    EXPECT_EQ(on_rank_zero(comm, "empty", [] { return std::string(); }), "");
  });
  EXPECT_EQ(runs, 1);
  const auto errors = errors_of(3, [](Communicator& comm) {
    on_rank_zero(comm, "text", []() -> std::string { fail(ErrorCode::kNothingToDo, "finished"); });
  });
  for (std::size_t rank = 0; rank < errors.size(); ++rank) {
    EXPECT_EQ(errors[rank].code(), ErrorCode::kNothingToDo);
    EXPECT_EQ(errors[rank].mine(), rank == 0);
  }
}

TEST(BroadcastTensors, GivesRankZerosToAll) {
  const std::vector<TensorBlob> tensors = {
      {"a.step", "I64", {}, std::vector<std::byte>(8, std::byte{3})},
      {"b.weight", "F32", {2, 3}, std::vector<std::byte>(24, std::byte{9})},
  };
  run_local(3, [&](Communicator& comm) {
    const bool root = comm.rank() == 0;
    const std::vector<TensorBlob> other = {{"other", "U8", {1}, {std::byte{1}}}};
    EXPECT_EQ(broadcast_tensors(comm, root ? tensors : other), tensors);
    EXPECT_TRUE(broadcast_tensors(comm, root ? std::vector<TensorBlob>{} : other).empty());
  });
}

TEST(Agreement, RanksThatSeeOtherFilesAreNamed) {
  run_local(3, [](Communicator& comm) { EXPECT_NO_THROW(same_everywhere(comm, "dataset", "the same")); });
  const auto errors = errors_of(4, [](Communicator& comm) {
    same_everywhere(comm, "dataset", comm.rank() == 1 || comm.rank() == 3 ? "stale" : "new");
  });
  int mine = 0;
  for (const AgreedError& error : errors) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_NE(error.message().find("another dataset on ranks 1, 3 than on rank 0"), std::string::npos)
        << error.what();
    mine += error.mine() ? 1 : 0;
  }
  EXPECT_EQ(mine, 1);
}

}  // namespace
}  // namespace muster
