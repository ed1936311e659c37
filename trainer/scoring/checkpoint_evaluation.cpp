#include "trainer/scoring/checkpoint_evaluation.h"

#include "trainer/comm/agreement.h"
#include "trainer/data/run_plan.h"
#include "trainer/evaluation/bootstrap.h"
#include "trainer/evaluation/evaluator.h"
#include "trainer/loop/model_setup.h"
#include "trainer/scoring/trained_model.h"

namespace muster {
namespace {

std::uint64_t resamples(const CheckpointEvaluation& options, const Dataset& dataset) {
  const std::uint64_t rows = dataset.row_index().rows(dataset.row_index().split(options.split));
  const std::uint64_t wanted = options.bootstrap ? *options.bootstrap : default_resamples(rows);
  if (wanted > 0 && rows > kMostBootstrapRows)
    fail(ErrorCode::kUsage, "--bootstrap: {} rows are more than the {} it can draw from", rows,
         kMostBootstrapRows);
  return wanted;
}

}  // namespace

Json evaluate_checkpoint(Communicator& comm, FileSystem& files, const CheckpointEvaluation& options) {
  const TrainedModel trained = load_trained_model(comm, files, options.checkpoint);
  const Config& config = trained.config;
  const Dataset dataset = together(comm, "open dataset", [&] {
    return options.dataset.empty()
               ? Dataset::open(config.text_at("data", "dataset"), config.text_at("data", "root"))
               : Dataset::open(options.dataset, options.root);
  });
  if (const std::string warning = dataset.warning(); !warning.empty() && comm.rank() == 0)
    options.log(LogLevel::kWarning, warning);
  if (const std::string stale = stale_warning(trained.decision, trained.step);
      !stale.empty() && comm.rank() == 0)
    options.log(LogLevel::kWarning, stale);
  const std::string fingerprint = dataset.manifest().fingerprint().hex();
  same_everywhere(comm, "dataset", fingerprint);
  const bool same_data = fingerprint == trained.fingerprint;
  together(comm, "same data", [&] {
    if (same_data || !options.dataset.empty()) return 0;
    throw Error(
        ErrorCode::kConfig,
        fmt::format("is not the data of this run any more (fingerprint {}, the run's is {}); --data {} "
                    "evaluates on it all the same",
                    fingerprint.substr(0, 16), trained.fingerprint.substr(0, 16),
                    dataset.directory().string()),
        dataset.directory().string());
  });
  const FeaturePipeline pipeline = together(comm, "pipeline", [&] {
    return FeaturePipeline::from_json(dataset.contract(), trained.pipeline, "pipeline.json");
  });
  const auto warn = [&](const std::string& text) { options.log(LogLevel::kWarning, text); };
  const ComputeDevice device =
      choose_scoring_device(comm, options.device, config.text_at("train", "device"), warn);
  const auto model = make_trained_model(comm, trained, pipeline, device);

  EvaluateSettings settings;
  settings.device = device;
  settings.split = options.split;
  settings.micro_batch = static_cast<std::uint32_t>(config.unsigned_at("evaluate", "micro_batch"));
  settings.threshold = trained.decision.threshold;
  settings.loss = loss_settings(config, pipeline);
  settings.loss.temperature = trained.decision.temperature;
  settings.calibrated = trained.decision.calibrated;
  settings.seed = config.unsigned_at("run", "seed");
  settings.resamples = together(comm, "bootstrap", [&] { return resamples(options, dataset); });
  settings.outputs = model_outputs(dataset.contract(), settings.loss.kind, pipeline.targets());
  settings.label_shape = label_shape(dataset.contract(), pipeline.targets());
  settings.targets = target_names(pipeline);
  settings.stream = stream_options(config);
  const EvaluationEnd ended =
      evaluate_split(comm, *model, dataset, pipeline, settings, [](bool) { return StopReason::kNone; });
  return {{"checkpoint", options.checkpoint.string()},
          {"step", trained.step},
          {"split", options.split},
          {"fingerprint", fingerprint},
          {"same_data", same_data},
          {"decision", trained.decision.to_json()},
          {"metrics", ended.evaluation->metrics}};
}

}  // namespace muster
