#pragma once
// What follows from a config, a dataset and a number of ranks before anything is read: order, steps, memory.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/features/feature_pipeline.h"
#include "data_loader/order/sample_order.h"
#include "data_loader/stream/batch_stream.h"
#include "trainer/comm/communicator.h"
#include "trainer/config/config.h"

namespace muster {

/// Numbers of a run; all but memories are the same on every rank.
struct RunPlan {
  std::string split;
  std::uint8_t split_number = 0;
  OrderSettings order;
  std::uint64_t rows = 0;
  std::uint64_t steps_per_epoch = 0;
  std::uint64_t total_steps = 0;
  std::uint64_t live_blocks = 0;   ///< blocks shuffled together, over all lanes
  double variance_ratio = 0;       ///< see shuffle_variance_ratio
  double max_over_mean_load = 1;   ///< of lanes per rank
  StreamMemory memory;             ///< of this rank, in training
  StreamMemory evaluation_memory;  ///< of this rank beside it, in evaluations during the run

  std::uint64_t epochs() const { return (total_steps + steps_per_epoch - 1) / steps_per_epoch; }
  Cursor cursor(std::uint64_t global_step) const {
    return {global_step / steps_per_epoch, global_step % steps_per_epoch};
  }
  Json to_json() const;
};

/// The plan in one line for people.
std::string describe(const RunPlan& plan, int ranks);

/// data.features and data.labels; configs from before there was data.labels take all.
FieldChoice field_choice(const Config& config);

/// A pipeline with the tensors of the real one and nothing fitted: plans are made with it before data are
/// read. Error{kConfig} for features that cannot be.
FeaturePipeline unfitted_pipeline(const Config& config, const Dataset& dataset);

/// The order's settings as far as the config fixes them; `window` 0 if it is left open.
OrderSettings order_settings(const Config& config);

/// Collective. Resolves what the config leaves open (lanes, window as far as loader.memory allows on every
/// rank), and checks that it fits and that both splits have rows: Error{kConfig} with the fix, agreed on by
/// all ranks.
RunPlan make_run_plan(Communicator& comm, const Config& config, const Dataset& dataset,
                      const FeaturePipeline& pipeline);

/// Of a run's two streams: together they keep to loader.memory.
StreamOptions training_stream(const Config& config, const RunPlan& plan);
StreamOptions evaluation_stream(const Config& config, const RunPlan& plan);

/// Of a stream that has loader.memory to itself.
StreamOptions stream_options(const Config& config);

/// Collective. Fits the pipeline on the training split: each rank reads a run of blocks, the merge is the
/// same for any number of ranks. `before_block` is called before each block; what it throws ends the fit on
/// all ranks. May be empty.
FeaturePipeline fit_pipeline(Communicator& comm, const Dataset& dataset, const std::string& split,
                             const FieldChoice& choice, const LogSink& log,
                             const std::function<void()>& before_block = {});

}  // namespace muster
