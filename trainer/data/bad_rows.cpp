#include "trainer/data/bad_rows.h"

namespace muster {

BadRowRule bad_row_rule(const Config& config) {
  return {config.text_at("data", "on_bad_rows") == "quarantine", config.number_at("data", "most_bad_rows")};
}

std::string bad_rows_text(std::span<const BadRows> found) {
  if (found.empty()) return "";
  Json list = Json::array();
  for (const BadRows& bad : found) list.push_back(bad.to_json());
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<BadRows> bad_rows_of(std::span<const std::string> by_rank) {
  std::vector<BadRows> all;
  for (const std::string& text : by_rank) {
    if (text.empty()) continue;
    for (const Json& entry : parse_json(text, "bad rows", ErrorCode::kBug))
      all.push_back(BadRows::from_json(entry, "bad rows"));
  }
  return all;
}

StreamOptions with_quarantine(StreamOptions options, const BadRowRule& rule, BadRowPolicy policy,
                              const Quarantine& quarantine) {
  if (!rule.quarantine) return options;
  options.on_bad_rows = policy;
  options.quarantine = &quarantine;
  return options;
}

}  // namespace muster
