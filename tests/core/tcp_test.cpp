#include "core/tcp.h"

#include <gtest/gtest.h>

#include <thread>

namespace muster {
namespace {

using std::chrono::milliseconds;

using Lines = std::vector<std::string>;

/// Both ends of a connection.
class Tcp : public ::testing::Test {
 protected:
  Tcp() {
    near_ = TcpConnection::connect(listener_.addresses().back(), milliseconds(5000));
    for (int tries = 0; tries < 500 && !far_; ++tries) {
      auto fresh = listener_.accept();
      if (!fresh.empty()) far_ = std::move(fresh.front());
      std::this_thread::sleep_for(milliseconds(2));
    }
  }
  void SetUp() override { ASSERT_TRUE(near_ && far_); }

  static Lines wait_for(TcpConnection& end, std::size_t count) {
    Lines all;
    for (int tries = 0; tries < 1000 && all.size() < count && !end.closed(); ++tries) {
      for (std::string& line : end.receive_lines()) all.push_back(std::move(line));
      std::this_thread::sleep_for(milliseconds(2));
    }
    return all;
  }

  TcpListener listener_;
  std::unique_ptr<TcpConnection> near_;
  std::unique_ptr<TcpConnection> far_;
};

TEST_F(Tcp, LinesGoBothWaysWhole) {
  EXPECT_TRUE(near_->send_line("one"));
  EXPECT_TRUE(near_->send_line(""));
  const std::string large(300'000, 'x');
  EXPECT_TRUE(near_->send_line(large));
  Lines got;
  for (int tries = 0; tries < 1000 && got.size() < 3; ++tries) {
    for (std::string& line : far_->receive_lines()) got.push_back(std::move(line));
    near_->send_line("more");  // with it goes what the network did not take before
  }
  ASSERT_GE(got.size(), 3U);
  EXPECT_EQ(got[0], "one");
  EXPECT_EQ(got[1], "");
  EXPECT_EQ(got[2], large);
  far_->send_line("back");
  EXPECT_EQ(wait_for(*near_, 1), (Lines{"back"}));
  EXPECT_FALSE(near_->closed());
}

TEST_F(Tcp, TheEndOfTheOtherIsSeenBehindWhatItSaid) {
  far_->send_line("good-bye");
  far_.reset();
  EXPECT_EQ(wait_for(*near_, 1), (Lines{"good-bye"}));
  for (int tries = 0; tries < 500 && !near_->closed(); ++tries) {
    (void)near_->receive_lines();
    std::this_thread::sleep_for(milliseconds(2));
  }
  EXPECT_TRUE(near_->closed());
}

TEST_F(Tcp, WhatWasSaidBeforeAResetIsStillHeard) {
  near_->send_line("never read: the end is a reset");
  std::this_thread::sleep_for(milliseconds(50));
  far_->send_line("good-bye");
  far_.reset();
  std::this_thread::sleep_for(milliseconds(50));
  (void)near_->send_line("into the void");
  (void)near_->send_line("and again");
  EXPECT_EQ(near_->receive_lines(), (Lines{"good-bye"}));
}

TEST(TcpConnect, NobodyThereIsNoConnection) {
  std::string address;
  {
    const TcpListener gone;
    address = gone.addresses().back();
  }
  EXPECT_FALSE(TcpConnection::connect(address, milliseconds(500)));
  for (const char* nonsense : {"", "host", "127.0.0.1:", "not an address:80", "[::1]:x"})
    EXPECT_FALSE(TcpConnection::connect(nonsense, milliseconds(500))) << nonsense;
}

}  // namespace
}  // namespace muster
