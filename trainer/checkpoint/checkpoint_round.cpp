#include "trainer/checkpoint/checkpoint_round.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/text.h"
#include "trainer/checkpoint/checkpoint_store.h"

namespace muster {
namespace {

constexpr const char* kRetry = "retry";
constexpr const char* kGiveUp = "give up";
constexpr const char* kPart = "part";            // this rank's files are durable, or failed
constexpr const char* kPublication = "publish";  // rank 0 has published, or failed

/// Files or a name, or the error in their place.
template <typename T>
std::string report(const char* kind, const Result<T>& result, const Json& value) {
  Json json = {{"kind", kind}};
  if (result) {
    json["value"] = value;
  } else {
    const Error& error = result.error();
    json["error"] = {{"code", error.exit_code()}, {"message", error.message()}, {"where", error.where()}};
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Error error_in(const Json& report) {
  const Json& error = report.at("error");
  return {static_cast<ErrorCode>(error.at("code").get<int>()), error.at("message").get<std::string>(),
          error.at("where").get<std::string>()};
}

}  // namespace

CheckpointRound::CheckpointRound(Settings settings)
    : settings_(std::move(settings)),
      has_checkpoint_(settings_.has_checkpoint),
      give_up_at_(std::numeric_limits<double>::infinity()) {}

void CheckpointRound::begin(const std::string& name, std::uint64_t step, CheckpointPart part,
                            Publish publish) {
  ensure(!busy(), "checkpoint {} is begun beside {}", name, name_);
  if (name != name_) attempt_ = 0;
  name_ = name;
  step_ = step;
  part_ = std::make_shared<CheckpointPart>(std::move(part));
  publish_ = std::move(publish);
  tries_ = 0;
  write();
}

void CheckpointRound::write() {
  began_ = settings_.clock();
  ++attempt_;
  ++tries_;
  phase_ = Phase::kWriting;
  reports_.assign(static_cast<std::size_t>(settings_.world), std::nullopt);
  writing_.start([files = settings_.files, draft = draft_of(settings_.directory, name_, attempt_),
                  part = part_] { return write_part(*files, draft, *part); });
}

std::string CheckpointRound::news() {
  constexpr auto kAtOnce = std::chrono::milliseconds(0);
  if (dropping_.done_within(kAtOnce)) (void)dropping_.take();
  if (phase_ == Phase::kWriting && writing_.done_within(kAtOnce)) return report_of_part();
  if (phase_ == Phase::kPublishing && publishing_.done_within(kAtOnce)) return report_of_publication();
  if (phase_ == Phase::kFailed && settings_.rank == 0) return decision_after_failure();
  return "";
}

std::string CheckpointRound::decision_after_failure() {
  if (hopeless()) return Json{{"kind", kGiveUp}}.dump();
  if (settings_.clock() < retry_at_ || dropping_.running()) return "";
  return Json{{"kind", kRetry}}.dump();
}

bool CheckpointRound::hopeless() const {
  return retry_at_ > give_up_at_ || retry_at_ - *failing_since_ > settings_.retry.give_up_seconds;
}

std::string CheckpointRound::report_of_part() {
  const Result<FileStamps> written = writing_.take();
  return report(kPart, written, written ? to_json(written.value()) : Json());
}

std::string CheckpointRound::report_of_publication() {
  const Result<std::string> published = publishing_.take();
  return report(kPublication, published, published ? Json(published.value()) : Json());
}

void CheckpointRound::wait(std::chrono::milliseconds patience) const {
  (void)(writing_.running() ? writing_.done_within(patience) : publishing_.done_within(patience));
}

std::optional<CheckpointOutcome> CheckpointRound::take(const std::vector<std::string>& news) {
  std::optional<CheckpointOutcome> outcome;
  for (std::size_t rank = 0; rank < news.size(); ++rank) {
    if (news[rank].empty()) continue;
    const Json report = parse_json(news[rank], "news of a checkpoint", ErrorCode::kBug);
    const auto kind = report.at("kind").get<std::string>();
    if (kind == kPart) reports_[rank] = report;
    if (kind == kRetry) write();
    if (kind == kPublication)
      outcome = report.contains("error") ? failed(report, static_cast<int>(rank)) : committed();
    if (kind == kGiveUp) {
      outcome = failure_;
      outcome->final = true;
    }
  }
  const bool all_told = std::ranges::all_of(reports_, [](const auto& r) { return r.has_value(); });
  if (phase_ == Phase::kWriting && all_told) outcome = after_parts();
  return outcome;
}

CheckpointOutcome CheckpointRound::committed() {
  phase_ = Phase::kIdle;
  has_checkpoint_ = true;
  failing_since_.reset();
  return {name_, step_, std::nullopt, 0, false, 0, settings_.clock() - began_};
}

/// All ranks' files are there, or some are not.
std::optional<CheckpointOutcome> CheckpointRound::after_parts() {
  FileStamps stamps;
  for (std::size_t rank = 0; rank < reports_.size(); ++rank) {
    const Json& report = *reports_[rank];
    if (report.contains("error")) return failed(report, static_cast<int>(rank));
    for (auto& [name, stamp] : listed_files({{"files", report.at("value")}}, "a rank's files"))
      stamps[name] = stamp;
  }
  phase_ = Phase::kPublishing;
  if (settings_.rank == 0) {
    publishing_.start([publish = publish_, draft = draft_of(settings_.directory, name_, attempt_), stamps] {
      return publish(draft, stamps);
    });
  }
  return std::nullopt;
}

/// Final at once where that follows from what all ranks know; else rank 0 decides.
CheckpointOutcome CheckpointRound::failed(const Json& report, int rank) {
  const Error error = error_in(report);
  const double now = settings_.clock();
  if (!failing_since_) failing_since_ = now;
  const double backoff = std::min(settings_.retry.longest_seconds,
                                  settings_.retry.first_seconds * std::exp2(std::min(tries_ - 1, 30U)));
  phase_ = Phase::kFailed;
  retry_at_ = now + backoff;
  if (settings_.rank == 0) {
    if (dropping_.running()) (void)dropping_.take();
    dropping_.start([drop = settings_.drop, draft = draft_of(settings_.directory, name_, attempt_)] {
      drop(draft);
      return true;
    });
  }
  const bool final = error.code() != ErrorCode::kStorage || !has_checkpoint_;
  failure_ = CheckpointOutcome{name_, step_, error, rank, final, backoff, now - began_};
  return *failure_;
}

void CheckpointRound::hurry(double seconds) { give_up_at_ = settings_.clock() + seconds; }

CheckpointPart CheckpointRound::reclaim() {
  ensure(phase_ == Phase::kIdle, "a checkpoint's memory is reclaimed while it is written");
  return part_ ? std::move(*part_) : CheckpointPart{};
}

}  // namespace muster
