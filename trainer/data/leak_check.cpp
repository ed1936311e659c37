#include "trainer/data/leak_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/text.h"
#include "data_loader/dataset/leak_sample.h"
#include "trainer/comm/agreement.h"

namespace muster {
namespace {

/// Collective. All sampled rows of a split, in order: every rank reads a run of the blocks.
std::vector<std::uint64_t> gather_rows(Communicator& comm, const Dataset& dataset, const LeakFields& fields,
                                       const std::string& name, const std::function<void()>& before_block) {
  const auto mine = together(comm, "leak guard", [&] {
    const std::uint8_t split = dataset.row_index().split(name);
    const std::vector<std::uint32_t> blocks = leak_blocks(dataset, fields, split);
    const auto rank = static_cast<std::size_t>(comm.rank());
    const auto world = static_cast<std::size_t>(comm.size());
    const std::size_t first = blocks.size() * rank / world;
    const std::size_t last = blocks.size() * (rank + 1) / world;
    return read_leak_rows(dataset, fields, split, std::span(blocks).subspan(first, last - first),
                          before_block);
  });
  std::vector<std::uint64_t> all;
  for (const auto& bytes : comm.all_gather("leak guard rows", std::as_bytes(std::span(mine)))) {
    const std::size_t before = all.size();
    all.resize(before + bytes.size() / sizeof(std::uint64_t));
    if (!bytes.empty()) std::memcpy(all.data() + before, bytes.data(), bytes.size());
  }
  return all;
}

/// The counts of both splits in one; what was found first in the first one is first.
std::vector<LateCount> sum_of(std::vector<LateCount> counts, const std::vector<LateCount>& more) {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    counts[i].rows += more[i].rows;
    counts[i].late += more[i].late;
    counts[i].unknown += more[i].unknown;
    if (counts[i].first.empty()) counts[i].first = more[i].first;
  }
  return counts;
}

/// What each label's detectors find in a sample of the training split.
LeakReport look_at_labels(const Contract& contract, const LeakFields& fields,
                          std::span<const std::uint64_t> rows) {
  LeakReport report;
  LeakTable table = leak_table(contract, fields, rows);
  report.rows = rows.size() / fields.width();
  for (const std::size_t array : fields.arrays) {
    report.notes.push_back(fmt::format(
        "leak guard: the label '{}' is an array: whether a feature alone tells it is not looked at",
        contract.fields()[array].name));
  }
  for (std::size_t target = 0; target < fields.labels.size(); ++target) {
    if (fields.labels.size() > 1) {
      table.label = leak_label(fields, rows, target);
      table.label_name = contract.fields()[fields.labels[target]].name;
    }
    std::vector<FeatureScore> scores = score_features(table);
    for (LeakFinding& finding : find_lone_predictors(scores, table.label, table.label_name))
      report.findings.push_back(std::move(finding));
    for (LeakFinding& finding : find_sums(table)) report.findings.push_back(std::move(finding));
    if (target == 0) report.scores = scores;
    if (fields.labels.size() > 1) report.by_label.emplace_back(table.label_name, std::move(scores));
  }
  return report;
}

std::string best_of(const std::vector<FeatureScore>& scores) {
  std::vector<std::string> best;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, scores.size()); ++i)
    best.push_back(fmt::format("{} {:.3f}", scores[i].name, scores[i].auc));
  return join(best, ", ");
}

void log_scores(const LeakReport& report, const LogSink& log) {
  constexpr std::size_t kMostLabels = 8;  // more lines than that nobody reads
  if (report.by_label.empty() && !report.scores.empty())
    log(LogLevel::kInfo, fmt::format("leak guard: {} rows; best features alone, by AUC: {}",
                                     human_count(report.rows), best_of(report.scores)));
  for (std::size_t i = 0; i < std::min(kMostLabels, report.by_label.size()); ++i) {
    const auto& [label, scores] = report.by_label[i];
    log(LogLevel::kInfo, fmt::format("leak guard: {} rows; best features alone for '{}', by AUC: {}",
                                     human_count(report.rows), label, best_of(scores)));
  }
  if (report.by_label.size() > kMostLabels)
    log(LogLevel::kInfo,
        fmt::format("leak guard: {} more labels were looked at", report.by_label.size() - kMostLabels));
  for (const std::string& note : report.notes) log(LogLevel::kInfo, note);
}

}  // namespace

LeakReport check_leaks(Communicator& comm, const Dataset& dataset, const std::string& split,
                       const std::string& other, const FieldChoice& choice,
                       const std::function<void()>& before_block) {
  const Contract& contract = dataset.contract();
  const LeakFields fields =
      together(comm, "leak guard fields", [&] { return LeakFields::of(contract, choice); });
  const auto late_in = [&](const std::string& name, const std::vector<std::uint64_t>& rows) {
    const std::uint8_t number = dataset.row_index().split(name);
    return count_late(dataset, fields, rows, number, leak_blocks(dataset, fields, number));
  };
  const std::vector<std::uint64_t> train = gather_rows(comm, dataset, fields, split, before_block);
  LeakReport report = look_at_labels(contract, fields, train);
  std::vector<LateCount> late = late_in(split, train);
  const auto add = [&](std::vector<LeakFinding> more) {
    report.findings.insert(report.findings.end(), more.begin(), more.end());
  };
  if (!other.empty()) {
    const std::vector<std::uint64_t> rows = gather_rows(comm, dataset, fields, other, before_block);
    late = sum_of(std::move(late), late_in(other, rows));
    std::vector<std::string> keys;
    for (const std::size_t key : fields.keys) keys.push_back(contract.fields()[key].name);
    const auto* fractions = std::get_if<FractionSplit>(&contract.splits());
    add(find_shared(split_side(split, fields, train), split_side(other, fields, rows), keys,
                    fractions != nullptr && fractions->key.empty()));
  }
  add(find_late(contract, late));
  for (std::string& line : unknown_lines(contract, late)) report.notes.push_back(std::move(line));
  return report;
}

void apply_leak_policy(Communicator& comm, const LeakReport& report, const std::string& policy,
                       const LogSink& log) {
  if (comm.rank() == 0) log_scores(report, log);
  if (report.findings.empty()) return;
  for (const LeakFinding& finding : report.findings) {
    if (comm.rank() == 0) log(LogLevel::kWarning, "leak? " + finding.message);
  }
  if (policy == "warn") return;
  throw AgreedError(
      Error(ErrorCode::kData,
            fmt::format(
                "{} ({} sign{} of a leak): leave the feature out (never_features, data.features), mend the "
                "split, or say `data.leaks: warn` if it is right",
                report.findings.front().message, report.findings.size(),
                report.findings.size() == 1 ? "" : "s")),
      comm.rank() == 0);
}

}  // namespace muster
