// Which rank computes where.

#include "trainer/comm/device_choice.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "core/error.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

using Indices = std::vector<int>;

RankGpus on(const std::string& host, std::vector<std::string> uuids) {
  return {host, std::move(uuids), "", false};
}

std::string refusal(const std::vector<RankGpus>& ranks) {
  try {
    assign_gpus(ranks, false);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    return error.message();
  }
  return "";
}

TEST(DeviceChoiceTest, RanksOfAHostTakeItsGpusInTurn) {
  const auto a = on("a", {"0", "1"});
  const auto b = on("b", {"0", "1", "2"});  // another host's GPUs may have the same names
  EXPECT_EQ(assign_gpus({a, a, b, b, b}, false), (Indices{0, 1, 0, 1, 2}));
  EXPECT_EQ(assign_gpus({b, a, b, a}, false), (Indices{0, 0, 1, 1}));
}

TEST(DeviceChoiceTest, ARankThatIsShownOneGpuTakesIt) {
  EXPECT_EQ(assign_gpus({on("a", {"x"}), on("a", {"y"}), on("b", {"z"})}, false), (Indices{0, 0, 0}));
}

TEST(DeviceChoiceTest, TwoOnOneGpuAreRefusedUnlessMeant) {
  const std::vector<RankGpus> two{on("a", {"x"}), on("b", {"x"}), on("a", {"x"})};
  EXPECT_NE(refusal(two).find("ranks 0 and 2 on a were given the same GPU (x)"), std::string::npos)
      << refusal(two);
  EXPECT_EQ(assign_gpus(two, true), (Indices{0, 0, 0}));
  const std::vector<RankGpus> three(3, on("a", {"x", "y"}));
  EXPECT_NE(refusal(three).find("a has 2 GPUs, rank 2 is its rank number 3"), std::string::npos)
      << refusal(three);
  EXPECT_EQ(assign_gpus(three, true), (Indices{0, 1, 0}));
}

TEST(DeviceChoiceTest, ARankWithoutAGpuIsNamedWithTheReason) {
  EXPECT_EQ(refusal({on("a", {"x"}), {"b", {}, "there is no driver", false}}),
            "rank 1 on b has no GPU: there is no driver");
}

/// As many GPUs as it is told.
class SomeGpus : public Gpus {
 public:
  explicit SomeGpus(std::vector<std::string> uuids) : uuids_(std::move(uuids)) {}
  int count() const override { return static_cast<int>(uuids_.size()); }
  GpuInfo info(int index) const override { return {"some", uuids_.at(static_cast<std::size_t>(index)), 2}; }
  std::uint64_t free_bytes(int) const override { return 1; }
  std::uint64_t peak_bytes(int) const override { return 0; }
  void select(int) override {}
  std::string version() const override { return "none"; }
  std::unique_ptr<GpuGraph> record(const std::function<void()>&) override { return nullptr; }
  BufferAllocator pinned_allocator() override { return aligned_allocator(); }
  std::string new_id() override { return ""; }
  std::unique_ptr<GpuSums> connect(const std::string&, int, int, int) override { return nullptr; }

 private:
  std::vector<std::string> uuids_;
};

struct Chosen {
  std::vector<ComputeDevice> devices;
  std::vector<std::string> warnings;  ///< rank 0's
};

/// `with_gpus`: by rank, whether it has two.
Chosen choose(const std::string& wanted, const std::vector<bool>& with_gpus, bool has_driver = false) {
  Chosen chosen;
  chosen.devices.resize(with_gpus.size());
  run_local(static_cast<int>(with_gpus.size()), [&](Communicator& comm) {
    const auto rank = static_cast<std::size_t>(comm.rank());
    GpuModule module{nullptr, "they do not answer", has_driver};
    if (with_gpus[rank]) module = {std::make_unique<SomeGpus>(std::vector<std::string>{"x", "y"}), "", true};
    chosen.devices[rank] = choose_device(comm, wanted, &module, false, [&](const std::string& line) {
      EXPECT_EQ(rank, 0U);
      chosen.warnings.push_back(line);
    });
  });
  return chosen;
}

TEST(DeviceChoiceTest, ScoringTakesTheRunsDeviceUnlessToldAndMayShare) {
  run_local(3, [](Communicator& comm) {
    const GpuModule module{std::make_unique<SomeGpus>(std::vector<std::string>{"x", "y"}), "", true};
    const auto chosen = [&](const std::string& wanted, const std::string& of_run) {
      return choose_scoring_device(comm, {wanted, &module}, of_run, [](const std::string&) {});
    };
    const ComputeDevice cpu, gpu{true, comm.rank() % 2};
    EXPECT_EQ(chosen("", "cpu"), cpu);
    EXPECT_EQ(chosen("", "auto"), gpu);
    EXPECT_EQ(chosen("cpu", "cuda"), cpu);
    EXPECT_EQ(chosen("cuda", "cpu"), gpu);
    EXPECT_THROW(choose_scoring_device(comm, {"cuda", nullptr}, "cpu", [](const std::string&) {}), Error);
    EXPECT_EQ(choose_scoring_device(comm, {}, "auto", [](const std::string&) {}), cpu);
  });
}

TEST(DeviceChoiceTest, AutoIsAGpuWhereAllHaveOne) {
  const ComputeDevice cpu, first{true, 0}, second{true, 1};
  EXPECT_EQ(choose("auto", {true, true}).devices, (std::vector{first, second}));
  EXPECT_EQ(choose("cuda", {true, true}).devices, (std::vector{first, second}));
  EXPECT_EQ(choose("cpu", {true, true}).devices, (std::vector{cpu, cpu}));
  const Chosen none = choose("auto", {false, false});
  EXPECT_EQ(none.devices, (std::vector{cpu, cpu}));
  EXPECT_TRUE(none.warnings.empty());
  EXPECT_EQ(choose("auto", {false, false}, true).warnings.size(),
            1U);  // a GPU machine whose GPUs cannot be used
  const Chosen some = choose("auto", {true, false});
  EXPECT_EQ(some.devices, (std::vector{cpu, cpu}));
  ASSERT_EQ(some.warnings.size(), 1U);
  EXPECT_NE(some.warnings[0].find("all ranks compute on the CPU, as rank 1 on "), std::string::npos)
      << some.warnings[0];
}

TEST(DeviceChoiceTest, AGpuThatIsAskedForAndNotThereIsRefusedOnAllRanks) {
  EXPECT_THROW(choose("cuda", {true, false}), Error);
  EXPECT_THROW(choose("auto", {true, true, true}), Error);  // more ranks than GPUs: nobody meant that
}

TEST(GpuModuleTest, WhyThereIsNoneIsOneLine) {
  const auto why = [](const char* library) {
    ::setenv("MUSTER_CUDA_MODULE", library, 1);
    const GpuModule module = load_gpu_module("/nowhere/muster");
    ::unsetenv("MUSTER_CUDA_MODULE");
    EXPECT_EQ(module.gpus, nullptr);
    EXPECT_EQ(module.why_not.find('\n'), std::string::npos) << module.why_not;
    return module.why_not;
  };
  EXPECT_NE(why("/nowhere/libmuster_cuda.so").find("/nowhere/libmuster_cuda.so cannot be loaded: "),
            std::string::npos);
  EXPECT_NE(why("libm.so.6").find("is not Muster's CUDA module"), std::string::npos);
  EXPECT_NE(why("").find("there is no libmuster_cuda.so beside the program"), std::string::npos);
}

}  // namespace
}  // namespace muster
