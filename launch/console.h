#pragma once
// What people see: lines, a progress line where there is a terminal, and one JSON object last with --json.

#include <string>
#include <string_view>

#include "core/json.h"
#include "core/log.h"
#include "trainer/loop/trainer.h"

namespace muster {

/// Prints on rank 0, is silent on others. Thread-safe line by line.
class Console {
 public:
  /// `json`: results as JSON on stdout, everything else on stderr.
  Console(bool json, bool silent);
  ~Console();

  void line(std::string_view text);
  void warning(std::string_view text);
  void progress(const Progress& progress);
  /// How far a command is: on a terminal, in place; elsewhere nothing.
  void status(std::string_view text);
  /// The command's result: `text` for people, or `json` as the last line of stdout.
  void result(const Json& json, std::string_view text);
  LogSink sink();

 private:
  void clear_progress();
  bool json_;
  bool silent_;
  bool terminal_;
  bool progress_shown_ = false;
};

std::string format_progress(const Progress& progress);

}  // namespace muster
