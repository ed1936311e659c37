#pragma once
// Signs of life: what each rank tells rank 0 every second, and what is to be made of them when something
// hangs.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// What a rank tells of itself.
struct RankSign {
  int rank = 0;
  std::string host;
  long pid = 0;
  std::uint64_t step = 0;
  std::string phase;
  std::uint64_t next_sequence = 0;  ///< number of its next collective
  std::uint64_t sequence = 0;       ///< of the oldest one it has begun and not ended
  std::string collective;           ///< its name; "": none
  double waited_seconds = 0;        ///< in it

  std::string to_line() const;
  /// Nothing for a line that is no sign.
  static std::optional<RankSign> parse(const std::string& line);
};

/// A rank as rank 0 sees it.
struct SeenRank {
  std::optional<RankSign> sign;  ///< the last one
  double silent_seconds = 0;     ///< since then
  bool gone = false;             ///< its connection closed without a good-bye
};

/// "collective 'NAME' (#N, step S) has waited 61 s for rank 2 on node7 (pid 99), in phase 'data' at step S":
/// of the signs the one that waits longest, and who is missing from it. At most eight are named.
std::string describe_stall(const std::vector<SeenRank>& ranks);
/// "rank 2 on node7 (pid 99) is gone: its connection closed at step 12, in phase 'compute'".
std::string describe_loss(const std::vector<SeenRank>& ranks);
/// How long the rank that waits longest has.
double longest_wait(const std::vector<SeenRank>& ranks);

}  // namespace muster
