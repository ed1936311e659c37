#pragma once
// A run whose start is decided, before its loop.

#include <memory>

#include "core/json.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/dataset/quarantine.h"
#include "data_loader/features/feature_pipeline.h"
#include "data_loader/stream/batch_stream.h"
#include "models/compute_device.h"
#include "models/model.h"
#include "trainer/config/config.h"
#include "trainer/data/run_plan.h"

namespace muster {

/// Everything a run is made of once its start is decided; the same on every rank.
struct Prepared {
  Config config;
  Dataset dataset;
  FeaturePipeline pipeline;
  RunPlan plan;
  std::unique_ptr<Model> model;
  Json start;  ///< {directory, run_id, generation, resumed, parent, step, state, …}: see train()
  Json environment;
  ComputeDevice device;                             ///< of this rank; the model is on the CPU still
  BufferAllocator allocator = aligned_allocator();  ///< of batches, from which a GPU copies
};

/// Where the batches come from. A read that is under way uses all of it.
struct TrainingData {
  std::shared_ptr<Prepared> run;
  Quarantine quarantine;
  std::unique_ptr<BlockReader> reader;
  std::unique_ptr<BatchStream> stream;
};

}  // namespace muster
