#include "trainer/loop/desync.h"

#include <gtest/gtest.h>

#include "trainer/comm/agreement.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

TEST(Desync, TheOddOnesAreThoseOutsideOfTheMajority) {
  using Ranks = std::vector<int>;
  EXPECT_EQ(odd_ranks({"a"}), Ranks());
  EXPECT_EQ(odd_ranks({"a", "a", "a"}), Ranks());
  EXPECT_EQ(odd_ranks({"a", "b", "a"}), Ranks({1}));
  EXPECT_EQ(odd_ranks({"b", "a", "a", "c", "a"}), Ranks({0, 3}));
  EXPECT_EQ(odd_ranks({"a", "b"}), Ranks({0, 1})) << "nobody can tell which";
  EXPECT_EQ(odd_ranks({"a", "b", "a", "b"}), Ranks({0, 1, 2, 3}));
}

TEST(Desync, AllRanksLearnOfItAndOneTellsIt) {
  run_local(4, [](Communicator& comm) {
    check_same_weights(comm, 7, "same");
    try {
      check_same_weights(comm, 8, comm.rank() == 2 ? "other" : "same");
      ADD_FAILURE() << "nobody noticed";
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBug);
      EXPECT_EQ(error.mine(), comm.rank() == 2);
      EXPECT_NE(error.message().find("step 8: the weights of rank 2 differ from those of the other ranks"),
                std::string::npos)
          << error.what();
    }
  });
}

}  // namespace
}  // namespace muster
