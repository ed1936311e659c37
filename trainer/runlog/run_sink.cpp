#include "trainer/runlog/run_sink.h"

#include <utility>
#include <vector>

#include "core/text.h"

namespace muster {
namespace {

void warn(const LogSink& log, const std::string& name, const std::exception& failure) {
  log(LogLevel::kWarning, fmt::format("log '{}' ends here, the run goes on: {}", name, failure.what()));
}

}  // namespace

RunSinks::RunSinks(const RunSinkStart& start, LogSink log)
    : histograms_every_steps_(start.config.unsigned_at("log", "histograms_every_steps")),
      log_(std::move(log)) {
  for (const std::string& name : run_sinks().names()) {
    try {
      if (auto sink = run_sinks().get(name).make(start)) sinks_.emplace(name, std::move(sink));
    } catch (const std::exception& failure) {
      warn(log_, name, failure);
    }
  }
}

void RunSinks::each(const std::function<void(RunSink&)>& call) {
  const std::lock_guard lock(mutex_);
  std::erase_if(sinks_, [&](const auto& named) {
    try {
      call(*named.second);
      return false;
    } catch (const std::exception& failure) {
      warn(log_, named.first, failure);
      return true;
    }
  });
}

void RunSinks::event(const std::string& name, std::uint64_t step, const Json& fields) {
  each([&](RunSink& sink) { sink.event(name, step, fields); });
}

void RunSinks::progress(const Progress& progress) {
  each([&](RunSink& sink) { sink.progress(progress); });
}

bool RunSinks::wants_histograms(std::uint64_t step) const {
  const std::lock_guard lock(mutex_);
  return !sinks_.empty() && histograms_every_steps_ > 0 && step % histograms_every_steps_ == 0;
}

void RunSinks::histograms(std::uint64_t step, std::span<const NamedHistogram> histograms) {
  each([&](RunSink& sink) { sink.histograms(step, histograms); });
}

/// Without the lock: a slow disk must not hold up those who log.
void RunSinks::sync() {
  std::map<std::string, std::shared_ptr<RunSink>> sinks;
  {
    const std::lock_guard lock(mutex_);
    sinks = sinks_;
  }
  for (const auto& [name, sink] : sinks) {
    try {
      sink->sync();
    } catch (const std::exception& failure) {
      const std::lock_guard lock(mutex_);
      if (sinks_.erase(name) > 0) warn(log_, name, failure);
    }
  }
}

}  // namespace muster
