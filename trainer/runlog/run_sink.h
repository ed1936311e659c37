#pragma once
// A log of a run beside events.jsonl, for another program to show. One new file with one registration line
// adds one:
//   const bool kRegistered = muster::run_sinks().add("my-log", {make});

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "core/file_system.h"
#include "core/json.h"
#include "core/log.h"
#include "core/registry.h"
#include "trainer/config/config.h"
#include "trainer/runlog/histogram.h"
#include "trainer/runlog/progress.h"

namespace muster {

/// The start of a run that a sink is made for.
struct RunSinkStart {
  FileSystem& files;  ///< outlives the sink
  std::filesystem::path directory;
  const Config& config;  ///< for the time of the making
  std::uint64_t generation = 1;
  std::uint64_t step = 0;  ///< done before this start; what earlier starts said of later ones is undone
};

/// Lives on rank 0; one call at a time, but for `sync`, which may come from another thread beside any other
/// call. A call may throw: the run then goes on without this sink.
class RunSink {
 public:
  virtual ~RunSink() = default;
  /// The same as goes into events.jsonl, just before it does.
  virtual void event(const std::string& name, std::uint64_t step, const Json& fields) = 0;
  /// Every log.every_steps steps, after the `step` event.
  virtual void progress(const Progress& progress) = 0;
  /// Every log.histograms_every_steps steps: of one step, in several calls.
  virtual void histograms(std::uint64_t step, std::span<const NamedHistogram> histograms) = 0;
  /// Makes what was logged survive a crash of the machine.
  virtual void sync() = 0;
};

/// Makes a sink, or a null pointer where the config wants none.
struct RunSinkFactory {
  std::function<std::unique_ptr<RunSink>(const RunSinkStart&)> make;
};

/// All registered sinks that the config wants. Thread-safe. One that fails, when made or later, gets no more
/// calls, and a warning names it: a failed log is no reason to lose a run.
class RunSinks {
 public:
  RunSinks(const RunSinkStart& start, LogSink log);

  void event(const std::string& name, std::uint64_t step, const Json& fields);
  void progress(const Progress& progress);
  /// Whether it is worth making histograms of this step.
  bool wants_histograms(std::uint64_t step) const;
  void histograms(std::uint64_t step, std::span<const NamedHistogram> histograms);
  void sync();

 private:
  void each(const std::function<void(RunSink&)>& call);

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<RunSink>> sinks_;
  std::uint64_t histograms_every_steps_;
  LogSink log_;
};

inline Registry<RunSinkFactory>& run_sinks() { return Registry<RunSinkFactory>::of_kind("log sink"); }

}  // namespace muster
