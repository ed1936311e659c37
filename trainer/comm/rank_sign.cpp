#include "trainer/comm/rank_sign.h"

#include <algorithm>

#include "core/json.h"
#include "core/text.h"

namespace muster {
namespace {

constexpr std::size_t kMostNamed = 8;
constexpr double kSilent = 5;  ///< seconds without a sign that are worth telling

std::string who(std::size_t rank, const std::optional<RankSign>& sign) {
  if (!sign) return fmt::format("rank {}, which was never heard of", rank);
  return fmt::format("rank {} on {} (pid {})", rank, sign->host, sign->pid);
}

std::string where(const SeenRank& seen) {
  if (!seen.sign) return "";
  const RankSign& sign = *seen.sign;
  const std::string doing = sign.collective.empty()
                                ? fmt::format("in phase '{}'", sign.phase)
                                : fmt::format("in '{}' (#{})", sign.collective, sign.sequence);
  const std::string silent = seen.silent_seconds < kSilent
                                 ? ""
                                 : fmt::format(", no sign of it for {}", human_seconds(seen.silent_seconds));
  return fmt::format(", {} at step {}{}{}", doing, sign.step, silent,
                     seen.gone ? ", its connection closed" : "");
}

std::string named(const std::vector<std::string>& texts) {
  if (texts.size() <= kMostNamed) return join(texts, "; ");
  const std::vector<std::string> first(texts.begin(), texts.begin() + kMostNamed);
  return fmt::format("{}; and {} more", join(first, "; "), texts.size() - kMostNamed);
}

/// Whose wait is the longest; nothing if nobody waits.
const RankSign* longest(const std::vector<SeenRank>& ranks) {
  const RankSign* found = nullptr;
  for (const SeenRank& seen : ranks) {
    if (!seen.sign || seen.sign->collective.empty()) continue;
    if (found == nullptr || seen.sign->waited_seconds > found->waited_seconds) found = &*seen.sign;
  }
  return found;
}

}  // namespace

std::string RankSign::to_line() const {
  return Json{{"rank", rank},
              {"host", host},
              {"pid", pid},
              {"step", step},
              {"phase", phase},
              {"next_sequence", next_sequence},
              {"sequence", sequence},
              {"collective", collective},
              {"waited_seconds", waited_seconds}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<RankSign> RankSign::parse(const std::string& line) {
  const auto sign = attempt([&] {
    const Json json = parse_json(line, "a sign of life");
    const std::string from = "a sign of life";
    RankSign parsed;
    parsed.rank = member<int>(json, "rank", from);
    parsed.host = member<std::string>(json, "host", from);
    parsed.pid = member<long>(json, "pid", from);
    parsed.step = member<std::uint64_t>(json, "step", from);
    parsed.phase = member<std::string>(json, "phase", from);
    parsed.next_sequence = member<std::uint64_t>(json, "next_sequence", from);
    parsed.sequence = member<std::uint64_t>(json, "sequence", from);
    parsed.collective = member<std::string>(json, "collective", from);
    parsed.waited_seconds = member<double>(json, "waited_seconds", from);
    return parsed;
  });
  return sign ? std::optional(sign.value()) : std::nullopt;
}

double longest_wait(const std::vector<SeenRank>& ranks) {
  const RankSign* sign = longest(ranks);
  return sign != nullptr ? sign->waited_seconds : 0;
}

std::string describe_stall(const std::vector<SeenRank>& ranks) {
  const RankSign* waiting = longest(ranks);
  if (waiting == nullptr) return "nobody waits";
  std::vector<std::string> missing;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const SeenRank& seen = ranks[rank];
    const bool in_it = seen.sign && seen.sign->next_sequence > waiting->sequence;
    if (!in_it || seen.gone || seen.silent_seconds >= kSilent)
      missing.push_back(who(rank, seen.sign) + where(seen));
  }
  return fmt::format("collective '{}' (#{}, step {}) has waited {} for {}", waiting->collective,
                     waiting->sequence, waiting->step, human_seconds(waiting->waited_seconds),
                     missing.empty() ? "the network: all ranks are in it" : named(missing));
}

std::string describe_loss(const std::vector<SeenRank>& ranks) {
  std::vector<std::string> gone;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (!ranks[rank].gone) continue;
    SeenRank told = ranks[rank];
    told.gone = false;
    gone.push_back(who(rank, told.sign) + where(told));
  }
  return fmt::format("lost: {}", named(gone));
}

}  // namespace muster
