#include "trainer/checkpoint_evaluation.h"

#include "trainer/agreement.h"
#include "trainer/checkpoint_store.h"
#include "trainer/evaluator.h"
#include "trainer/model_setup.h"
#include "trainer/module_state.h"
#include "trainer/run_plan.h"

namespace muster {

Json evaluate_checkpoint(Communicator& comm, FileSystem& files, const CheckpointEvaluation& options) {
  CheckpointContent content;
  const Json loaded = parse_json(on_rank_zero(comm, "load checkpoint",
                                              [&] {
                                                content = load_checkpoint(files, options.checkpoint).value();
                                                return Json{{"step", content.step},
                                                            {"config", content.state.at("config")},
                                                            {"fingerprint", content.state.at("fingerprint")},
                                                            {"pipeline", content.pipeline}}
                                                    .dump();
                                              }),
                                 "checkpoint", ErrorCode::kBug);
  const Config config(loaded.at("config"));
  set_compute_threads(config.unsigned_at("train", "threads"));
  const Dataset dataset = together(comm, "open dataset", [&] {
    return options.dataset.empty()
               ? Dataset::open(config.text_at("data", "dataset"), config.text_at("data", "root"))
               : Dataset::open(options.dataset, options.root);
  });
  if (const std::string warning = dataset.warning(); !warning.empty() && comm.rank() == 0)
    options.log(LogLevel::kWarning, warning);
  const std::string fingerprint = dataset.manifest().fingerprint().hex();
  same_everywhere(comm, "dataset", fingerprint);
  const bool same_data = fingerprint == loaded.at("fingerprint").get<std::string>();
  together(comm, "same data", [&] {
    if (same_data || !options.dataset.empty()) return 0;
    throw Error(
        ErrorCode::kConfig,
        fmt::format("is not the data of this run any more (fingerprint {}, the run's is {}); --data {} "
                    "evaluates on it all the same",
                    fingerprint.substr(0, 16), loaded.at("fingerprint").get<std::string>().substr(0, 16),
                    dataset.directory().string()),
        dataset.directory().string());
  });
  const FeaturePipeline pipeline = together(comm, "pipeline", [&] {
    return FeaturePipeline::from_json(dataset.contract(), loaded.at("pipeline"), "pipeline.json");
  });
  const auto model = together(comm, "model", [&] {
    auto made = make_configured_model(config, dataset.contract(), pipeline);
    if (comm.rank() == 0) load_module_state(made->module(), content.model);
    return made;
  });
  broadcast_module(model->module(), comm);

  EvaluateSettings settings;
  settings.split = options.split;
  settings.micro_batch = static_cast<std::uint32_t>(config.unsigned_at("evaluate", "micro_batch"));
  settings.threshold = config.number_at("evaluate", "threshold");
  settings.loss = loss_settings(config, pipeline);
  settings.outputs = model_outputs(dataset.contract(), settings.loss.kind);
  settings.stream = stream_options(config);
  const auto metrics = evaluate_split(comm, *model, dataset, pipeline, settings, [] { return false; });
  return {{"checkpoint", options.checkpoint.string()},
          {"step", loaded.at("step")},
          {"split", options.split},
          {"fingerprint", fingerprint},
          {"same_data", same_data},
          {"metrics", *metrics}};
}

}  // namespace muster
