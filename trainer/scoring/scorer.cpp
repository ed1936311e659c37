#include "trainer/scoring/scorer.h"

#include <torch/torch.h>

#include <algorithm>

#include "trainer/comm/agreement.h"
#include "trainer/evaluation/batch_scores.h"
#include "trainer/loop/model_setup.h"

namespace muster {

Scorer::Scorer(Communicator& comm, const TrainedModel& trained, const Contract& data,
               const ComputeDevice& device)
    : pipeline_(
          together(comm, "pipeline",
                   [&] { return FeaturePipeline::for_scoring(data, trained.pipeline, "pipeline.json"); })),
      loss_(loss_settings(trained.config, pipeline_)),
      outputs_(
          together(comm, "outputs",
                   [&] {
                     if (loss_.kind == LossKind::kNextToken)
                       fail(ErrorCode::kConfig,
                            "a model of tokens gives a distribution per token, which is no score of a row: "
                            "`muster evaluate` measures it");
                     return model_outputs(trained.contract, loss_.kind, pipeline_.targets());
                   })),
      label_shape_(muster::label_shape(trained.contract, pipeline_.targets())),
      threshold_(trained.decision.threshold),
      device_(device),
      model_(make_trained_model(comm, trained, pipeline_, device)) {
  if (pipeline_.targets().size() > 1 && outputs_ > 1) targets_ = target_names(pipeline_);
  loss_.temperature = trained.decision.temperature;
  model_->module().eval();
}

std::vector<float> Scorer::score(const Batch& batch) {
  const torch::NoGradGuard no_grad;
  const ModelBatch inputs(BatchTensors(batch, device_), 0, batch.rows(), false, 0);
  return batch_scores(model_->forward(inputs), batch, loss_, outputs_);
}

std::int64_t decide(const Scorer& scorer, std::span<const float> scores) {
  if (scorer.kind() == LossKind::kBinary) return static_cast<double>(scores[0]) >= scorer.threshold() ? 1 : 0;
  return std::ranges::max_element(scores) - scores.begin();
}

}  // namespace muster
