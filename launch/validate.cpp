#include "data_loader/dataset/validate.h"

#include <thread>

#include "core/text.h"
#include "launch/invocation.h"
#include "launch/programs.h"

namespace muster {
namespace {

/// As dates where these are seconds since 1970 from 1971 on; as numbers otherwise.
std::string time_range(const std::pair<double, double>& times) {
  constexpr double kFirst = 365.0 * 86400;
  constexpr double kLast = 4102444800;  // 2100
  const auto shown = [&](double time) {
    return times.first >= kFirst && times.second < kLast ? iso_time(time).substr(0, 19)
                                                         : fmt::format("{}", time);
  };
  return shown(times.first) + " to " + shown(times.second);
}

std::string shares(const std::map<std::string, std::uint64_t>& counts, std::uint64_t rows) {
  std::string text;
  for (const auto& [value, count] : counts) {
    text += fmt::format("  {}: {} ({:.2f} %)", value, human_count(count),
                        rows > 0 ? 100.0 * static_cast<double>(count) / static_cast<double>(rows) : 0.0);
  }
  return text;
}

std::string describe(const ValidateReport& report) {
  std::string text =
      fmt::format("{} rows in {} partitions, {} decoded; fingerprint {}", human_count(report.rows),
                  report.manifest.partitions.size(), human_bytes(report.bytes),
                  report.manifest.fingerprint().hex().substr(0, 16));
  for (const SplitSummary& split : report.splits) {
    text += fmt::format("\n  {:12} {:>12} rows", split.name, human_count(split.rows));
    if (split.times) text += "  " + time_range(*split.times);
    text += shares(split.label_counts, split.rows);
    for (const auto& [label, counts] : split.counts_of_labels) {
      if (!counts.empty()) text += fmt::format("\n    {}{}", label, shares(counts, split.rows));
    }
  }
  if (report.rows_in_no_split > 0)
    text += fmt::format("\n  {:12} {:>12} rows", "(no split)", human_count(report.rows_in_no_split));
  for (const auto& [field, rows] : report.dropped) {
    if (rows > 0) text += fmt::format("\n  {} of them dropped: '{}' is missing", human_count(rows), field);
  }
  for (const auto& [field, tokens] : report.tokens_left_over) {
    if (tokens > 0)
      text += fmt::format("\n  {} tokens of '{}' come after a partition's last whole window: in no row",
                          human_count(tokens), field);
  }
  return text;
}

}  // namespace

void add_validate(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "validate",
                  "check every value against the contract; write manifest, row index and sidecar",
                  "muster validate data/card-fraud");
  auto options = std::make_shared<ValidateOptions>();
  options->threads = std::max(1U, std::thread::hardware_concurrency());
  command->add_option("DIR", options->directory, "directory with contract.yaml")->required();
  command->add_option("--root", options->root, "where the partitions lie, if not in DIR");
  command->add_option("--threads", options->threads, "partitions checked at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("--block-rows", options->block_rows, "rows per block; 0: the files' own chunks")
      ->capture_default_str()
      ->check(not_negative());
  command->add_option("--max-faults", options->max_faults, "faults printed")
      ->capture_default_str()
      ->check(not_negative());
  command->callback([&invocation, options] {
    invocation.action = [&invocation, options] {
      Console console(invocation.json, false);
      options->log = console.sink();
      options->probe = probe_program();
      const ValidateReport report = validate(*options);
      if (report.fault_count == 0) {
        console.result(report.to_json(), describe(report));
        return 0;
      }
      for (const Error& fault : report.faults) console.warning(fault.what());
      console.result(report.to_json(), "");
      throw Error(
          ErrorCode::kData,
          fmt::format("{} faults: mend the data or the contract; nothing was written", report.fault_count),
          options->directory.string());
    };
  });
}

}  // namespace muster
