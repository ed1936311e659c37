// The end of a step: its update, or what a step that must not be applied does.

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/text.h"
#include "trainer/comm/agreement.h"
#include "trainer/loop/training_run.h"
#include "trainer/runlog/tensor_histograms.h"

namespace muster {

/// Applies the gradients, unless the step is a bad one: what is decided follows from numbers that all ranks
/// have. False: the run goes back.
bool TrainingRun::update() {
  const bool histograms = record_ != nullptr && record_->sinks().wants_histograms(step_ + 1);
  if (histograms) record_->sinks().histograms(step_ + 1, gradient_histograms(run_.model->module()));
  gradient_norm_ = optimizer_->clip(run_.config.number_at("train", "clip_norm"));
  rate_ = learning_rate(schedule_, run_.config.number_at("optimizer", "learning_rate"), step_);
  // Nothing was learnt where all rows are bad: no decay either.
  if (bad_steps_.left_out(step_) || (last_.rows > 0 && last_.passed_over == last_.rows)) {
    buffers_->restore();
    return true;
  }
  if (!std::isfinite(gradient_norm_) && last_.first_not_finite < 0 && loss_scale_.overflowed()) {
    buffers_->restore();
    event("loss_scale_halved", {{"loss_scale", loss_scale_.value()}});
    return true;
  }
  std::optional<std::string> bad = bad_steps_.judge(mean_loss());
  if (bad && last_.first_not_finite >= 0)
    bad = fmt::format("the loss is not finite on rank {} of {}", last_.first_not_finite, comm_.size());
  if (!bad && !std::isfinite(gradient_norm_)) bad = "the loss is finite, its gradients are not";
  if (bad) return take_bad_step(*bad);
  bad_steps_.good(mean_loss());
  optimizer_->step(rate_);
  loss_scale_.good();
  if (average_ != nullptr) average_->update(step_ + 1);
  if (histograms) record_->sinks().histograms(step_ + 1, weight_histograms(run_.model->module()));
  return true;
}

/// From the next step on all ranks pass over these rows; what the finder's batch has of them counted for
/// nothing already.
void TrainingRun::take_bad_rows(const std::vector<BadRows>& bad) {
  bool more = false;
  for (const BadRows& rows : bad) {
    if (!data_->quarantine.add(rows)) continue;
    more = true;
    event("rows_passed_over", {{"partition", rows.partition},
                               {"first_row", rows.first_row},
                               {"rows", rows.rows},
                               {"reason", rows.reason}});
    constexpr std::uint64_t kWarnings = 10;
    if (comm_.rank() != 0 || ++bad_ranges_ > kWarnings) continue;
    options_.log(
        LogLevel::kWarning,
        fmt::format("step {}: {} rows are passed over from here on: {}{}", step_, human_count(rows.rows),
                    rows.reason, bad_ranges_ == kWarnings ? " (others that follow: events.jsonl)" : ""));
  }
  if (more) refuse_too_many_bad_rows(bad.back().reason);
}

/// The same on all ranks. `reason`: of the last ones, or "".
void TrainingRun::refuse_too_many_bad_rows(const std::string& reason) const {
  const std::uint64_t all = run_.dataset.manifest().rows();
  const std::uint64_t bad_rows = data_->quarantine.rows();
  constexpr std::uint64_t kMostRanges = 10'000;  // each is named in every checkpoint
  if (static_cast<double>(bad_rows) <= bad_row_rule_.most * static_cast<double>(all) &&
      data_->quarantine.ranges() <= kMostRanges)
    return;
  throw AgreedError(
      Error(ErrorCode::kData,
            fmt::format(
                "step {}: {} of {} rows are bad, more than data.most_bad_rows ({}) or 10,000 places let: "
                "restore the files{}",
                step_, human_count(bad_rows), human_count(all), bad_row_rule_.most,
                reason.empty() ? "" : "; the last ones: " + reason)),
      comm_.rank() == 0);
}

/// False: the run goes back for it.
bool TrainingRun::take_bad_step(const std::string& why) {
  const BadStepPolicy policy = bad_steps_.rule().policy;
  const bool goes_on = policy == BadStepPolicy::kSkip       ? bad_steps_.skip()
                       : policy == BadStepPolicy::kRollBack ? bad_steps_.roll_back(step_)
                                                            : false;
  if (!goes_on) {
    const std::string many = policy == BadStepPolicy::kStop
                                 ? ""
                                 : fmt::format(" (bad step number {}, train.most_bad_steps is {})",
                                               bad_steps_.count(), bad_steps_.rule().most);
    throw AgreedError(
        Error(ErrorCode::kData,
              fmt::format("step {}: {}{}: lower optimizer.learning_rate, set train.clip_norm, or "
                          "look at the data",
                          step_, why, many)),
        comm_.rank() == std::max(0, last_.first_not_finite));
  }
  const bool skips = policy == BadStepPolicy::kSkip;
  if (skips) {
    buffers_->restore();
    event("step_skipped", {{"reason", why}, {"bad_steps", bad_steps_.count()}});
  } else {
    event("roll_back_wanted", {{"reason", why}, {"bad_steps", bad_steps_.count()}});
  }
  if (comm_.rank() == 0) {
    options_.log(LogLevel::kWarning,
                 fmt::format("step {}: {}: {}", step_, why,
                             skips ? "its update is left out" : "back to the last checkpoint"));
  }
  return skips;
}

}  // namespace muster
