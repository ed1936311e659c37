// Ranks that watch each other over TCP, here as threads: who hangs and who is gone is told once, by name.
#include "trainer/comm/rank_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "core/host_name.h"
#include "core/json.h"

namespace muster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// The watches of some ranks, and what they said.
class Watches {
 public:
  explicit Watches(int size, milliseconds deadline, milliseconds grace = milliseconds(200))
      : statuses_(static_cast<std::size_t>(size)), lines_(static_cast<std::size_t>(size)) {
    for (int rank = 0; rank < size; ++rank) {
      RankWatchOptions options;
      options.rank = rank;
      options.size = size;
      options.deadline = deadline;
      options.deadline_key = "log.deadline_seconds";
      options.status = &statuses_[static_cast<std::size_t>(rank)];
      options.loss_grace = grace;
      options.on_failure = [this, rank](const std::string& line, bool mine) {
        const std::lock_guard lock(mutex_);
        lines_[static_cast<std::size_t>(rank)].emplace_back(line, mine);
      };
      options.end = [this] { ++ends_; };
      watches_.push_back(std::make_unique<RankWatch>(std::move(options)));
    }
    const std::string contact = watches_[0]->contact();
    for (const auto& watch : watches_) EXPECT_TRUE(watch->start(contact));
  }
  RankWatch& operator[](std::size_t rank) { return *watches_[rank]; }
  void lose(std::size_t rank) { watches_[rank].reset(); }
  RankStatus& status(std::size_t rank) { return statuses_[rank]; }
  std::vector<std::pair<std::string, bool>> said(std::size_t rank) {
    const std::lock_guard lock(mutex_);
    return lines_[rank];
  }
  bool wait_for_ends(int count) {
    for (int tries = 0; tries < 2000 && ends_ < count; ++tries) std::this_thread::sleep_for(milliseconds(10));
    return ends_ >= count;
  }

 private:
  std::vector<RankStatus> statuses_;
  std::mutex mutex_;
  std::vector<std::vector<std::pair<std::string, bool>>> lines_;
  std::atomic<int> ends_{0};
  std::vector<std::unique_ptr<RankWatch>> watches_;  // their threads end before what they touch
};

TEST(RankWatch, WhoIsMissingIsToldOnceAndAllRanksEnd) {
  Watches ranks(3, milliseconds(600));
  ranks.status(1).steps_done = 56;
  ranks.status(1).phase = RankPhase::kData;
  for (const std::size_t rank : {0, 2}) ranks[rank].begin(7, "gradients 1");
  ASSERT_TRUE(ranks.wait_for_ends(3));
  int told = 0;
  for (std::size_t rank = 0; rank < 3; ++rank) {
    ASSERT_EQ(ranks.said(rank).size(), 1U) << rank;
    told += ranks.said(rank)[0].second ? 1 : 0;
    const std::string line = ranks.said(rank)[0].first;
    EXPECT_NE(line.find("collective 'gradients 1' (#7, step 0) has waited "), std::string::npos) << line;
    EXPECT_NE(line.find(" for rank 1 on "), std::string::npos) << line;
    EXPECT_NE(line.find("in phase 'data' at step 56 (the limit is 600 ms: log.deadline_seconds)"),
              std::string::npos)
        << line;
    EXPECT_EQ(line.find("rank 2"), std::string::npos) << "it is in it: " << line;
  }
  EXPECT_EQ(told, 1);
}

TEST(RankWatch, WhatEndsInTimeIsNotTold) {
  Watches ranks(2, milliseconds(1500));
  for (std::uint64_t i = 0; i < 100; ++i) {
    for (const std::size_t rank : {0, 1}) ranks[rank].begin(i, "step");
    std::this_thread::sleep_for(milliseconds(20));
    for (const std::size_t rank : {0, 1}) ranks[rank].end(i);
  }
  EXPECT_TRUE(ranks.said(0).empty());
  EXPECT_TRUE(ranks.said(1).empty());
}

TEST(RankWatch, WhoLeavesByItselfIsNoLoss) {
  Watches ranks(3, seconds(60), milliseconds(1));
  std::this_thread::sleep_for(milliseconds(1500));
  ranks.lose(2);
  ranks.lose(1);
  std::this_thread::sleep_for(milliseconds(2500));
  EXPECT_TRUE(ranks.said(0).empty());
}

TEST(RankStatus, TheDeadlineFollowsFromTheSlowestStepAndIsNeverBelowAMinute) {
  EXPECT_EQ(default_deadline(RankPhase::kData, 0.001), 60);
  EXPECT_EQ(default_deadline(RankPhase::kBetweenSteps, 10), 200);
  EXPECT_EQ(default_deadline(RankPhase::kCompute, 0), 900) << "no step was measured";
  for (const RankPhase phase :
       {RankPhase::kStart, RankPhase::kEvaluate, RankPhase::kCheckpoint, RankPhase::kRollBack})
    EXPECT_EQ(default_deadline(phase, 0.001), 900) << to_text(phase);
}

TEST(RankWatch, AShortWaitIsNoFailureWhereNobodyGaveADeadline) {
  Watches ranks(2, milliseconds(0));
  ranks.status(0).phase = RankPhase::kCompute;
  ranks.status(0).slowest_step_seconds = 0.001;
  ranks[0].begin(1, "verdict");
  std::this_thread::sleep_for(milliseconds(2500));
  EXPECT_TRUE(ranks.said(0).empty());
  ranks[0].end(1);
}

/// What a watch says, for one that is not among Watches.
struct Said {
  std::atomic<bool> told{false};
  std::string line;
  void listen(RankWatchOptions& options) {
    options.on_failure = [this](const std::string& what, bool) {
      line = what;
      told = true;
    };
  }
  bool within(seconds patience) const {
    for (int tries = 0; tries < 100 * patience.count() && !told; ++tries)
      std::this_thread::sleep_for(milliseconds(10));
    return told;
  }
};

TEST(RankWatch, ARankWhoseConnectionEndsWithoutAGoodByeIsNamed) {
  RankWatchOptions options;
  options.size = 2;
  options.deadline = seconds(60);
  options.loss_grace = milliseconds(300);
  Said said;
  said.listen(options);
  RankWatch zero(options);
  zero.start("");
  const Json contact = Json::parse(zero.contact());
  {
    const auto rank_one =
        TcpConnection::connect(contact.at("addresses").back().get<std::string>(), seconds(5));
    ASSERT_TRUE(rank_one);
    rank_one->send_line("hello " + contact.at("token").get<std::string>() + " 1");
    RankSign sign;
    sign.rank = 1;
    sign.host = "node7";
    sign.pid = 4242;
    sign.step = 12;
    sign.phase = "compute";
    rank_one->send_line(sign.to_line());
    std::this_thread::sleep_for(milliseconds(2200));  // it is known by then
    EXPECT_FALSE(said.told);
  }
  ASSERT_TRUE(said.within(seconds(20)));
  EXPECT_EQ(said.line, "lost: rank 1 on node7 (pid 4242), in phase 'compute' at step 12");
}

TEST(RankWatch, ARankThatLosesRankZeroSaysSoItself) {
  TcpListener zero;
  RankWatchOptions options;
  options.rank = 1;
  options.size = 2;
  options.deadline = seconds(60);
  options.loss_grace = milliseconds(300);
  Said said;
  said.listen(options);
  RankWatch one(options);
  ASSERT_TRUE(one.start(
      Json{{"token", "t"}, {"addresses", {zero.addresses().back()}}, {"host", host_name()}}.dump()));
  std::vector<std::unique_ptr<TcpConnection>> connections;
  while (connections.empty()) connections = zero.accept();
  connections[0]->send_line("welcome t");
  std::this_thread::sleep_for(milliseconds(1500));
  EXPECT_FALSE(said.told);
  connections.clear();
  ASSERT_TRUE(said.within(seconds(20)));
  EXPECT_NE(said.line.find("rank 0 is lost: its connection closed"), std::string::npos) << said.line;
}

TEST(RankWatch, SomebodyElseAtAnAddressIsNotRankZero) {
  TcpListener stranger;
  RankWatchOptions options;
  options.rank = 0;
  options.size = 2;
  options.deadline = milliseconds(400);
  std::atomic<int> told{0};
  options.on_failure = [&](const std::string&, bool) { ++told; };
  RankWatch zero(options);
  Json contact = Json::parse(zero.contact());
  std::vector<std::string> addresses = stranger.addresses();
  for (const auto& address : contact.at("addresses")) addresses.push_back(address);
  contact["addresses"] = addresses;
  options.rank = 1;
  options.loss_grace = milliseconds(100);
  RankWatch one(options);
  ASSERT_TRUE(one.start(contact.dump()));
  zero.start("");
  // The stranger hangs up on each of its connections; nobody may take that for the end of rank 0.
  for (int tries = 0; tries < 40; ++tries) {
    (void)stranger.accept();
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(told, 0);
  one.begin(3, "verdict");
  for (int tries = 0; tries < 600 && told < 2; ++tries) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_EQ(told, 2) << "it found rank 0 after all";
}

SeenRank seen(int rank, std::uint64_t next, const std::string& collective, double waited, double silent = 0) {
  SeenRank ranks;
  ranks.sign = RankSign{rank, "node", 100 + rank, 12, "compute", next, next - 1, collective, waited};
  ranks.silent_seconds = silent;
  return ranks;
}

TEST(RankSign, ASignSurvivesItsLineAndOtherLinesAreNone) {
  const RankSign sign{3, "n\"ode", 99, 1ULL << 60, "data", 8, 7, "gradients", 1.5};
  const auto parsed = RankSign::parse(sign.to_line());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->to_line(), sign.to_line());
  for (const char* line : {"", "hello", "{}", "[1]", R"({"rank":"x"})", "good-bye"})
    EXPECT_FALSE(RankSign::parse(line)) << line;
}

TEST(RankSign, TheLineNamesWhoIsMissingSilentOrGone) {
  std::vector<SeenRank> ranks = {seen(0, 9, "verdict", 61), seen(1, 9, "verdict", 60.5),
                                 seen(2, 8, "", 0),         seen(3, 9, "verdict", 30, 31),
                                 seen(4, 9, "verdict", 61), {}};
  ranks[4].gone = true;
  const std::string line = describe_stall(ranks);
  EXPECT_EQ(line,
            "collective 'verdict' (#8, step 12) has waited 1 min 01 s for rank 2 on node (pid 102), in phase "
            "'compute' at step "
            "12; rank 3 on node (pid 103), in 'verdict' (#8) at step 12, no sign of it for 31.0 s; rank 4 on "
            "node (pid "
            "104), in 'verdict' (#8) at step 12, its connection closed; rank 5, which was never heard of");
  EXPECT_EQ(longest_wait(ranks), 61);
  EXPECT_EQ(describe_loss(ranks), "lost: rank 4 on node (pid 104), in 'verdict' (#8) at step 12");
  EXPECT_EQ(describe_stall({seen(0, 9, "verdict", 61), seen(1, 9, "verdict", 60)}),
            "collective 'verdict' (#8, step 12) has waited 1 min 01 s for the network: all ranks are in it");
  const std::string many = describe_stall(std::vector<SeenRank>(20, seen(0, 8, "", 0)));
  EXPECT_EQ(many, "nobody waits");
  std::vector<SeenRank> crowd(20, seen(0, 8, "", 0));
  crowd[0] = seen(0, 9, "verdict", 61);
  EXPECT_NE(describe_stall(crowd).find("; and 11 more"), std::string::npos);
}

}  // namespace
}  // namespace muster
