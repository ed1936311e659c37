#include "trainer/evaluation/decision.h"

#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/text.h"

namespace muster {

Json Decision::to_json() const {
  return {{"threshold", threshold},   {"chosen_by", chosen_by}, {"temperature", temperature},
          {"calibrated", calibrated}, {"split", split},         {"step", step},
          {"remark", remark}};
}

Decision Decision::from_json(const Json& json, const std::string& where) {
  Decision decision;
  decision.threshold = member<double>(json, "threshold", where);
  decision.chosen_by = member<std::string>(json, "chosen_by", where);
  decision.temperature = member<double>(json, "temperature", where);
  decision.calibrated = member<bool>(json, "calibrated", where);
  decision.split = member<std::string>(json, "split", where);
  decision.step = member<std::uint64_t>(json, "step", where);
  decision.remark = member<std::string>(json, "remark", where);
  if (!(decision.temperature > 0)) {
    throw Error(ErrorCode::kStorage, fmt::format("the temperature is {}", decision.temperature), where);
  }
  return decision;
}

DecisionSettings decision_settings(const Config& config) {
  return {threshold_settings(config), config.text_at("evaluate", "calibrate") == "temperature"};
}

void refuse_several_targets(const DecisionSettings& settings, std::size_t targets) {
  if (targets < 2 || !settings.any()) return;
  fail(ErrorCode::kConfig,
       "evaluate.{} is for one label, the run learns {}: choose one by data.labels, or leave it at none",
       settings.calibrate ? "calibrate" : "choose_threshold", targets);
}

Decision decision_of(const Json& state, const Config& config, const std::string& where) {
  const auto found = state.find("decision");
  if (found != state.end() && !found->is_null()) return Decision::from_json(*found, where);
  Decision decision;
  decision.threshold = config.number_at("evaluate", "threshold");
  const bool knows = config.section("evaluate").contains("choose_threshold");  // earlier versions have not
  if (knows && decision_settings(config).any())
    decision.remark =
        "no evaluation had fitted a threshold or a temperature yet when this checkpoint was written";
  return decision;
}

std::string describe(const Decision& decision) {
  std::vector<std::string> parts;
  if (!decision.chosen_by.empty())
    parts.push_back(fmt::format("threshold {:.6g} by {}", decision.threshold, decision.chosen_by));
  if (decision.calibrated) parts.push_back(fmt::format("temperature {:.6g}", decision.temperature));
  if (!decision.split.empty())
    parts.push_back(fmt::format("fitted to '{}' at step {}", decision.split, decision.step));
  if (parts.empty())
    parts.push_back(fmt::format("threshold {:.6g} by evaluate.threshold", decision.threshold));
  if (!decision.remark.empty()) parts.push_back(decision.remark);
  return join(parts, ", ");
}

std::string stale_warning(const Decision& decision, std::uint64_t step) {
  if (decision.split.empty()) return decision.remark;
  if (decision.step == step) return "";
  return fmt::format(
      "the threshold and temperature of this checkpoint (step {}) were fitted at the evaluation of step {}",
      step, decision.step);
}

}  // namespace muster
