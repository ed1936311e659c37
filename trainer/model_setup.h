#pragma once
// From a config, a contract and a pipeline to a model and its loss.

#include <cstdint>
#include <memory>

#include "data_loader/contract.h"
#include "data_loader/feature_pipeline.h"
#include "models/model.h"
#include "trainer/config.h"
#include "trainer/optimizer.h"
#include "trainer/schedule.h"

namespace muster {

/// With the label's scale as the pipeline was fitted to it.
LossSettings loss_settings(const Config& config, const FeaturePipeline& pipeline);
OptimizerSettings optimizer_settings(const Config& config);
ScheduleSettings schedule_settings(const Config& config);

/// Classes for cross-entropy: from the label's `allowed` (0 … K-1) or `range: [0, K-1]`; 1 for the other
/// losses, of which next_token needs no label. Error{kConfig} names the label and what is missing.
std::int64_t model_outputs(const Contract& contract, LossKind kind);

std::unique_ptr<Model> make_configured_model(const Config& config, const Contract& contract,
                                             const FeaturePipeline& pipeline);

/// Bytes of a rank's weights, gradients and optimizer state; activations come on top.
std::uint64_t model_memory(std::uint64_t parameters, const OptimizerSettings& optimizer);

}  // namespace muster
