// A run's two streams keep to one bound, and what does not fit is refused with a number that does.
#include "trainer/data/run_plan.h"

#include <gtest/gtest.h>

#include <mutex>
#include <string>

#include "core/text.h"
#include "tests/data_loader/dataset_fixture.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

class RunPlanTest : public ::testing::Test, public DatasetFixture {
 protected:
  void SetUp() override {
    write_contract(kByFraction);
    for (std::uint64_t i = 0; i < 4; ++i)
      write_partition(fmt::format("p{}.h5", i), make_columns(300, 1000 * i), 300);
    validate(options());
    dataset_ = Dataset::open(directory());
  }

  Config config(std::uint64_t memory, const std::string& evaluate) const {
    const std::string text = "data: {dataset: " + directory().string() +
                             "}\nmodel: {name: mlp}\nbatch: {size: 48, lanes: 6}\ntrain: {epochs: 2}\n" +
                             "evaluate: {split: " + evaluate +
                             ", micro_batch: 64}\nloader: {memory: " + std::to_string(memory) + "}\n";
    const std::vector<ModelOptions> models = {{"mlp", {}}};
    return Config::parse(YamlNode::parse(text, "config.yaml"), {}, models);
  }

  /// The plan of each rank.
  std::vector<RunPlan> plans(std::uint64_t memory, int world, const std::string& evaluate = "validation") {
    const auto fields = FeaturePipeline::select(dataset_.contract(), {});
    const auto pipeline = FeaturePipeline::fit(
        dataset_.contract(), fields,
        std::vector<FieldSummary>(FeaturePipeline::to_summarize(dataset_.contract(), fields).size()));
    std::vector<RunPlan> plans(static_cast<std::size_t>(world));
    run_local(world, [&](Communicator& comm) {
      plans[static_cast<std::size_t>(comm.rank())] =
          make_run_plan(comm, config(memory, evaluate), dataset_, pipeline);
    });
    return plans;
  }

  Dataset dataset_;
};

TEST_F(RunPlanTest, TrainingAndEvaluationShareOneBound) {
  for (const int world : {1, 2, 5}) {
    int fitted = 0;
    int tight = 0;  // the two take nearly all there is
    std::uint64_t memory = 1 << 22;
    while (true) {
      const auto made = attempt([&] { return plans(memory, world); });
      if (!made.ok()) {
        EXPECT_EQ(made.error().code(), ErrorCode::kConfig) << made.error().what();
        EXPECT_NE(made.error().message().find("loader.memory"), std::string::npos) << made.error().what();
        break;
      }
      for (const RunPlan& plan : made.value()) {
        const std::uint64_t both = plan.memory.total() + plan.evaluation_memory.total();
        EXPECT_GT(plan.evaluation_memory.total(), 0U);
        EXPECT_LE(both, memory);
        ++fitted;
        tight += both > memory - memory / 4 ? 1 : 0;
        EXPECT_EQ(plan.order.window, made.value().front().order.window);
      }
      memory -= memory / 20;
    }
    std::printf("world %d: %d plans fitted, %d of them tight; refused at %llu bytes\n", world, fitted, tight,
                static_cast<unsigned long long>(memory));
    EXPECT_GT(fitted, 20);
    EXPECT_GT(tight, 0);
  }
}

TEST_F(RunPlanTest, TheNumberInARefusalWouldDo) {
  const auto refused = attempt([&] { return plans(1000, 1, "''"); });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kConfig);
  const std::string text = refused.error().message();
  const std::size_t at = text.find("at least ");
  ASSERT_NE(at, std::string::npos) << text;
  const std::size_t number = text.find('(', at);
  ASSERT_NE(number, std::string::npos) << text;
  const auto bytes = static_cast<std::uint64_t>(leading_integer(text.substr(number + 1)).value_or(0));
  EXPECT_NO_THROW(plans(bytes, 1, "''")) << text;
  EXPECT_THROW(plans(bytes - 1, 1, "''"), Error) << text;
}

TEST_F(RunPlanTest, ASmallerBoundGivesASmallerWindow) {
  const std::uint32_t roomy = plans(1 << 24, 1, "''").front().order.window;
  std::uint64_t memory = 1 << 20;
  std::uint32_t least = roomy;
  for (auto made = attempt([&] { return plans(memory, 1, "''"); }); made.ok();
       made = attempt([&] { return plans(memory, 1, "''"); })) {
    EXPECT_LE(made.value().front().order.window, least);
    least = made.value().front().order.window;
    memory -= memory / 10;
  }
  EXPECT_LT(least, roomy);
}

}  // namespace
}  // namespace muster
