// Traces of several ranks, as the file that shows them.

#include "trainer/runlog/trace.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "core/error.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

TEST(TraceTest, ARangeIsTwoStepsInOrder) {
  EXPECT_FALSE(parse_trace_range("").has_value());
  EXPECT_EQ(parse_trace_range("3:10")->first, 3U);
  EXPECT_EQ(parse_trace_range("3:10")->last, 10U);
  for (const char* text : {"3", "3:", ":3", "3:3", "4:3", "a:b", "3:4x", "3-4", " 3:4", "-1:4"})
    EXPECT_THROW(parse_trace_range(text), Error) << text;
}

TEST(TraceTest, TheFileHasAllRanksSpansOfTheWantedStepsAlone) {
  run_local(3, [](Communicator& comm) {
    Trace trace(comm, {5, 7});
    for (std::uint64_t step = 4; step < 8; ++step) {
      trace.at_step(step);
      EXPECT_EQ(trace.on(), step == 5 || step == 6);
      const TraceSpan span(&trace, "compute", "loop");
      if (step == 5 && comm.rank() == 1) {
        std::thread([&] {
          const TraceSpan read(&trace, "read");
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }).join();
      }
    }
    EXPECT_TRUE(trace.ends_at(7));
    const std::string text = trace.gather_file(comm);
    EXPECT_EQ(text.empty(), comm.rank() != 0);
    if (comm.rank() != 0) return;
    const Json file = parse_json(text, "trace", ErrorCode::kBug);
    std::vector<int> computed(3), names(3);
    int reads = 0;
    for (const Json& event : file.at("traceEvents")) {
      const auto rank = event.at("pid").get<std::size_t>();
      if (event.at("ph") == "M") names.at(rank) += event.at("name") == "process_name" ? 1 : 0;
      if (event.at("name") == "compute") ++computed.at(rank);
      if (event.at("name") != "read") continue;
      ++reads;
      EXPECT_EQ(rank, 1U);
      EXPECT_GE(event.at("dur").get<double>(), 20'000);
      EXPECT_GE(event.at("ts").get<double>(), 0);
    }
    EXPECT_EQ(computed, (std::vector<int>{2, 2, 2}));
    EXPECT_EQ(names, (std::vector<int>{1, 1, 1}));
    EXPECT_EQ(reads, 1);
  });
}

TEST(TraceTest, KernelsOfTheWantedStepsAreShownByStream) {
  run_local(2, [](Communicator& comm) {
    int begun = 0, ended = 0;
    Trace trace(comm, {5, 7}, [&]() -> Trace::EndProfile {
      ++begun;
      return [&, from = std::chrono::system_clock::now()]() -> std::vector<KernelSpan> {
        ++ended;
        return {{"gemm", 7, from, from + std::chrono::milliseconds(2)}, {"sum", 9, from, from}};
      };
    });
    for (std::uint64_t step = 4; step < 8; ++step) {
      trace.at_step(step);
      EXPECT_EQ(begun, step > 4 ? 1 : 0);
      const TraceSpan span(&trace, "compute", "loop");
    }
    const std::string text = trace.gather_file(comm);
    EXPECT_EQ(ended, 1);
    if (comm.rank() != 0) return;
    std::map<std::pair<int, int>, std::string> tracks;
    const Json file = parse_json(text, "trace", ErrorCode::kBug);
    for (const Json& event : file.at("traceEvents")) {
      if (event.at("name") == "thread_name")
        tracks[{event.at("pid"), event.at("tid")}] = event.at("args").at("name");
    }
    int kernels = 0;
    for (const Json& event : file.at("traceEvents")) {
      if (event.at("name") != "gemm") continue;
      ++kernels;
      EXPECT_EQ(tracks.at({event.at("pid"), event.at("tid")}), "GPU stream 7");
      EXPECT_NEAR(event.at("dur").get<double>(), 2000, 1);
      EXPECT_GE(event.at("ts").get<double>(), 0);  // since the trace was made
      EXPECT_LE(event.at("ts").get<double>(), 10'000'000);
    }
    EXPECT_EQ(kernels, 2);
  });
}

TEST(TraceTest, WhereThereIsNoneNothingHappens) { const TraceSpan span(nullptr, "compute", "loop"); }

}  // namespace
}  // namespace muster
