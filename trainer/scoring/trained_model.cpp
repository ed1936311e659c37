#include "trainer/scoring/trained_model.h"

#include "trainer/checkpoint/checkpoint_store.h"
#include "trainer/checkpoint/module_state.h"
#include "trainer/comm/agreement.h"
#include "trainer/evaluation/evaluator.h"
#include "trainer/loop/model_setup.h"
#include "trainer/loop/trainer.h"

namespace muster {

TrainedModel load_trained_model(Communicator& comm, FileSystem& files,
                                const std::filesystem::path& checkpoint) {
  std::vector<TensorBlob> weights;
  const Json loaded =
      parse_json(on_rank_zero(comm, "load checkpoint",
                              [&] {
                                CheckpointContent content = load_checkpoint(files, checkpoint).value();
                                weights = std::move(content.model);
                                return Json{{"step", content.step},
                                            {"config", content.state.at("config")},
                                            {"decision", content.state.value("decision", Json(nullptr))},
                                            {"fingerprint", content.state.at("fingerprint")},
                                            {"contract", content.contract_yaml},
                                            {"pipeline", content.pipeline}}
                                    .dump();
                              }),
                 "checkpoint", ErrorCode::kBug);
  TrainedModel trained{
      loaded.at("step"),
      loaded.at("fingerprint"),
      Config(loaded.at("config"), registered_model_options()),
      together(comm, "contract of the checkpoint",
               [&] {
                 return Contract::parse(YamlNode::parse(loaded.at("contract").get<std::string>(),
                                                        (checkpoint / "contract.yaml").string()));
               }),
      loaded.at("pipeline"),
      together(comm, "decision",
               [&] {
                 return decision_of(loaded, Config(loaded.at("config"), registered_model_options()),
                                    (checkpoint / "manifest.json").string());
               }),
      std::move(weights)};
  set_compute_threads(trained.config.unsigned_at("train", "threads"));
  return trained;
}

std::unique_ptr<Model> make_trained_model(Communicator& comm, const TrainedModel& trained,
                                          const FeaturePipeline& pipeline, const ComputeDevice& device) {
  auto model = together(comm, "model", [&] {
    auto made = make_configured_model(trained.config, trained.contract, pipeline, device);
    if (comm.rank() == 0) load_module_state(made->module(), trained.weights);
    return made;
  });
  broadcast_module(model->module(), comm);
  move_to(model->module(), device);
  return model;
}

}  // namespace muster
