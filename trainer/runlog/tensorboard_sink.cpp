// A run's log for TensorBoard. What is written under which tag: docs/tensorboard.md.

#include <utility>
#include <vector>

#include "core/text.h"
#include "trainer/runlog/events.h"
#include "trainer/runlog/run_sink.h"
#include "trainer/runlog/tensorboard_file.h"

namespace muster {
namespace {

using Scalars = std::vector<std::pair<std::string, double>>;

/// As a Markdown block of code. Indented, not fenced: no text in it can end it.
std::string code_block(const std::string& text) {
  std::string block;
  for (const std::string& line : split(text, '\n')) block += "    " + line + "\n";
  return block;
}

class TensorBoardSink : public RunSink {
 public:
  explicit TensorBoardSink(const RunSinkStart& start)
      : files_(&start.files),
        events_(start.directory / "events.jsonl"),
        start_step_(start.step),
        file_(start.files,
              start.directory / tensorboard_file_name(start.files, start.directory, start.generation)) {
    const std::uint64_t first = start_step_ + 1;
    file_.start(first);
    file_.text(first, "config", code_block(to_yaml(start.config.values())));
  }

  void event(const std::string& name, std::uint64_t step, const Json& fields) override {
    if (name == "step") {
      last_step_ = {};
      for (const char* key : {"loss", "learning_rate", "gradient_norm"}) {
        if (fields.at(key).is_number()) last_step_.emplace_back(std::string("step/") + key, fields.at(key));
      }
    } else if (name == "rolled_back") {
      file_.start(step + 1);
    } else if (name == "evaluated") {
      evaluated(step, fields.at("split").get<std::string>(), fields.at("metrics"));
    }
  }

  void progress(const Progress& progress) override {
    Scalars scalars = last_step_;
    scalars.emplace_back("speed/samples_per_second", progress.samples_per_second);
    scalars.emplace_back("speed/data_wait_share", progress.data_share);
    scalars.emplace_back("speed/communication_wait_share", progress.communication_share);
    if (progress.flops_per_second > 0)
      scalars.emplace_back("speed/flops_per_second", progress.flops_per_second);
    if (progress.utilization > 0) scalars.emplace_back("speed/model_flops_utilization", progress.utilization);
    file_.scalars(progress.step, scalars);
  }

  void histograms(std::uint64_t step, std::span<const NamedHistogram> histograms) override {
    file_.histograms(step, histograms);
  }

  void sync() override { file_.sync(); }

 private:
  void evaluated(std::uint64_t step, const std::string& split, const Json& metrics) {
    if (step == start_step_ && evaluated_before(step, split)) return;
    Scalars scalars;
    for (const auto& [name, value] : metrics.items()) {
      if (value.is_number()) scalars.emplace_back(split + "/" + name, value.get<double>());
    }
    const Json targets = metrics.value("targets", Json::object());
    for (const auto& [target, values] : targets.items()) {
      for (const auto& [name, value] : values.items()) {
        if (value.is_number())
          scalars.emplace_back(fmt::format("{}/{}/{}", split, target, name), value.get<double>());
      }
    }
    file_.scalars(step, scalars);
  }

  /// Whether an earlier start that went on from this very step evaluated it too, and was killed: its file
  /// stays good up to this step.
  bool evaluated_before(std::uint64_t step, const std::string& split) const {
    for (const Json& event : read_events(*files_, events_)) {
      if (event_text(event, "event") == "evaluated" && event_number(event, "step") == step &&
          event_text(event, "split") == split)
        return true;
    }
    return false;
  }

  FileSystem* files_;
  std::filesystem::path events_;
  std::uint64_t start_step_;
  TensorBoardFile file_;
  Scalars last_step_;  ///< of the last `step` event
};

const bool kRegistered =
    run_sinks().add("tensorboard", {[](const RunSinkStart& start) -> std::unique_ptr<RunSink> {
                      if (!start.config.at("log", "tensorboard").get<bool>()) return nullptr;
                      return std::make_unique<TensorBoardSink>(start);
                    }});

}  // namespace
}  // namespace muster
