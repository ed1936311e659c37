#pragma once
// What a checkpoint's weights need around them to be used again: config, contract, pipeline.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/json.h"
#include "data_loader/contract/contract.h"
#include "data_loader/features/feature_pipeline.h"
#include "models/model.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/comm/communicator.h"
#include "trainer/config/config.h"
#include "trainer/evaluation/decision.h"

namespace muster {

/// A checkpoint as its user needs it.
struct TrainedModel {
  std::uint64_t step = 0;
  std::string fingerprint;  ///< of the data that it was trained on
  Config config;
  Contract contract;  ///< of these data
  Json pipeline;
  Decision decision;                ///< threshold and temperature that belong to the weights
  std::vector<TensorBlob> weights;  ///< on rank 0 only
};

/// Collective. Loads on rank 0, all hashes verified, and sets this process's compute threads to those of the
/// run: they are part of what decides the bits. Failures are AgreedErrors.
TrainedModel load_trained_model(Communicator& comm, FileSystem& files,
                                const std::filesystem::path& checkpoint);

/// Collective. The model with its weights, on every rank and its device. `pipeline` is the
/// checkpoint's, with or without its label.
std::unique_ptr<Model> make_trained_model(Communicator& comm, const TrainedModel& trained,
                                          const FeaturePipeline& pipeline, const ComputeDevice& device = {});

}  // namespace muster
