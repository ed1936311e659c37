#pragma once
// Where a library's lines go: into a sink that its caller gives. Libraries never print.

#include <functional>
#include <string_view>

namespace muster {

enum class LogLevel { kInfo, kWarning };

/// Takes one line without a line end. Called from any thread; the sink locks if it must.
using LogSink = std::function<void(LogLevel, std::string_view)>;

/// A sink that drops everything.
inline LogSink silent_log() {
  return [](LogLevel, std::string_view) {};
}

}  // namespace muster
