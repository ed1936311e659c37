#pragma once
// From a config, a contract and a pipeline to a model and its loss.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data_loader/contract/contract.h"
#include "data_loader/features/feature_pipeline.h"
#include "data_loader/order/sample_order.h"
#include "models/batch_norm.h"
#include "models/model.h"
#include "trainer/config/config.h"
#include "trainer/gradients/optimizer.h"
#include "trainer/gradients/schedule.h"
#include "trainer/loop/micro_batches.h"

namespace muster {

/// With the labels' scales as the pipeline was fitted to them.
LossSettings loss_settings(const Config& config, const FeaturePipeline& pipeline);
/// Names of the pipeline's targets.
std::vector<std::string> target_names(const FeaturePipeline& pipeline);
/// Of a row's label, where there is one and it is an array; else empty.
std::vector<std::int64_t> label_shape(const Contract& contract, std::span<const TargetLabel> targets);
/// What chooses the best checkpoint: evaluate.best_by, or the loss's default: auc, accuracy, rmse or loss,
/// and loss for several targets of mse. Error{kConfig} for a metric that these targets have not, or have no
/// common one of.
std::string best_metric(const Config& config, const Contract& contract, std::span<const TargetLabel> targets);
OptimizerSettings optimizer_settings(const Config& config);
ScheduleSettings schedule_settings(const Config& config);

/// Classes for cross-entropy: from the label's `allowed` (0 … K-1) or `range: [0, K-1]`; the number of
/// `targets` (fields of the contract) for binary and mse, or of the values of one that is an array (mse); 1
/// for next_token, which needs no label. Error{kConfig} names the label and what is missing or too much, or
/// the labels where one is taken.
std::int64_t model_outputs(const Contract& contract, LossKind kind, std::span<const TargetLabel> targets);

/// On the CPU; `device`: where it will compute.
std::unique_ptr<Model> make_configured_model(const Config& config, const Contract& contract,
                                             const FeaturePipeline& pipeline,
                                             const ComputeDevice& device = {});

/// Of a run that begins: train.loss_scale, or its default for train.precision.
double first_loss_scale(const Config& config);

/// What a model's norms ask for.
RowsTogether rows_together(const BatchNormSums& norms);
/// Error{kConfig} where train.micro_batch parts rows that the model needs together. `order`: with lanes
/// resolved.
void check_rows_together(const Config& config, const OrderSettings& order, int ranks,
                         torch::nn::Module& module);

/// Bytes of a rank's weights, gradients and optimizer state (these of what is trained); activations come on
/// top.
std::uint64_t model_memory(torch::nn::Module& module, const OptimizerSettings& optimizer);

}  // namespace muster
