#pragma once
// A whole training in one process, ranks as threads.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/yaml.h"
#include "data_loader/dataset/validate.h"
#include "data_loader/generators/generator.h"
#include "tests/data_loader/scratch_directory.h"
#include "trainer/checkpoint/checkpoint_store.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/loop/trainer.h"
#include "trainer/runlog/events.h"

namespace muster::testing {

class Training : public ::testing::Test {
 protected:
  void SetUp() override { make_data("tabular"); }

  void make_data(const std::string& kind, std::uint64_t rows = 3000, std::uint64_t seed = 1) {
    std::filesystem::remove_all(data());
    GenerateOptions generate_options;
    generate_options.kind = kind;
    generate_options.rows = rows;
    generate_options.seed = seed;
    generate_options.partitions = 3;
    generate_options.out = data();
    generate(generate_options);
    ValidateOptions validate_options;
    validate_options.directory = data();
    ASSERT_TRUE(validate(validate_options).faults.empty());
  }

  std::filesystem::path data() const { return scratch_ / "data"; }
  std::filesystem::path run_directory() const { return scratch_ / "runs" / "run"; }

  Config config(const std::vector<std::string>& overrides) const {
    const std::string text = "run: {dir: " + (scratch_ / "runs").string() +
                             "}\ndata: {dataset: " + data().string() + "}\nmodel: " + model_ +
                             "\nbatch: {size: 64, lanes: 8, window: 2}\n" +
                             "train: {threads: 1, epochs: 3}\nlog: {every_steps: 1}\n";
    return Config::parse(YamlNode::parse(text, "config.yaml"), overrides, registered_model_options());
  }

  /// Trains on `world` threads; `stop_at`: this rank's own progress asks for a stop after that step (0:
  /// never).
  TrainResult run(int world, const std::vector<std::string>& overrides, std::uint64_t stop_at = 0,
                  const std::vector<std::string>& allow = {}) {
    TrainResult result;
    std::vector<StopRequests> requests(static_cast<std::size_t>(world));
    run_local(world, [&](Communicator& comm) {
      TrainOptions options(config(overrides));
      StopRequests& mine = requests[static_cast<std::size_t>(comm.rank())];
      options.requests = &mine;
      options.start.allow = allow;
      options.progress = [&](const Progress& progress) {
        if (progress.step == stop_at) mine.stop = true;
      };
      if (adjust_) adjust_(options, comm.rank());
      const TrainResult ours = train(comm, *files_, options);
      if (comm.rank() == 0) result = ours;
    });
    return result;
  }

  std::vector<std::string> event_names() const {
    std::vector<std::string> names;
    for (const Json& event : read_events(*files_, run_directory() / "events.jsonl")) {
      if (event.at("event") != "step" && event.at("event") != "efficiency")
        names.push_back(event.at("event").get<std::string>());
    }
    return names;
  }

  std::function<void(TrainOptions&, int rank)> adjust_;  ///< of what each rank is told
  std::string model_ = "{name: mlp, hidden: [8]}";
  ScratchDirectory scratch_;
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
};

inline std::uint64_t steps_per_epoch(const TrainResult& result) {
  return result.plan.at("steps_per_epoch").get<std::uint64_t>();
}

}  // namespace muster::testing
