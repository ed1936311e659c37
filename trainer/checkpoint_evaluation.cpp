#include "trainer/checkpoint_evaluation.h"

#include "trainer/agreement.h"
#include "trainer/evaluator.h"
#include "trainer/model_setup.h"
#include "trainer/run_plan.h"
#include "trainer/trained_model.h"

namespace muster {

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
  const auto model = make_trained_model(comm, trained, pipeline);

  EvaluateSettings settings;
  settings.split = options.split;
  settings.micro_batch = static_cast<std::uint32_t>(config.unsigned_at("evaluate", "micro_batch"));
  settings.threshold = config.number_at("evaluate", "threshold");
  settings.loss = loss_settings(config, pipeline);
  settings.outputs = model_outputs(dataset.contract(), settings.loss.kind, pipeline.targets());
  settings.targets = target_names(pipeline);
  settings.stream = stream_options(config);
  const auto metrics = evaluate_split(comm, *model, dataset, pipeline, settings, [] { return false; });
  return {{"checkpoint", options.checkpoint.string()},
          {"step", trained.step},
          {"split", options.split},
          {"fingerprint", fingerprint},
          {"same_data", same_data},
          {"metrics", *metrics}};
}

}  // namespace muster
