#include "trainer/leak_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/text.h"
#include "data_loader/leak_sample.h"
#include "trainer/agreement.h"

namespace muster {
namespace {

/// Collective. All sampled rows of a split, in order: every rank reads a run of the blocks.
std::vector<std::uint64_t> gather_rows(Communicator& comm, const Dataset& dataset, const LeakFields& fields,
                                       const std::string& name) {
  const auto mine = together(comm, "leak guard", [&] {
    const std::uint8_t split = dataset.row_index().split(name);
    const std::vector<std::uint32_t> blocks = leak_blocks(dataset, fields, split);
    const auto rank = static_cast<std::size_t>(comm.rank());
    const auto world = static_cast<std::size_t>(comm.size());
    const std::size_t first = blocks.size() * rank / world;
    const std::size_t last = blocks.size() * (rank + 1) / world;
    return read_leak_rows(dataset, fields, split, std::span(blocks).subspan(first, last - first));
  });
  std::vector<std::uint64_t> all;
  for (const auto& bytes : comm.all_gather("leak guard rows", std::as_bytes(std::span(mine)))) {
    const std::size_t before = all.size();
    all.resize(before + bytes.size() / sizeof(std::uint64_t));
    if (!bytes.empty()) std::memcpy(all.data() + before, bytes.data(), bytes.size());
  }
  return all;
}

}  // namespace

LeakReport check_leaks(Communicator& comm, const Dataset& dataset, const std::string& split,
                       const std::string& other, const std::vector<std::string>& features) {
  const Contract& contract = dataset.contract();
  const LeakFields fields =
      together(comm, "leak guard fields", [&] { return LeakFields::of(contract, features); });
  const std::vector<std::uint64_t> train = gather_rows(comm, dataset, fields, split);
  const LeakTable table = leak_table(contract, fields, train);
  LeakReport report;
  report.rows = table.label.size();
  report.scores = score_features(table);
  report.findings = find_lone_predictors(report.scores, table.label);
  const auto add = [&](std::vector<LeakFinding> more) {
    report.findings.insert(report.findings.end(), more.begin(), more.end());
  };
  add(find_sums(table));
  if (other.empty()) return report;
  std::vector<std::string> keys;
  for (const std::size_t key : fields.keys) keys.push_back(contract.fields()[key].name);
  const auto* fractions = std::get_if<FractionSplit>(&contract.splits());
  add(find_shared(split_side(split, fields, train),
                  split_side(other, fields, gather_rows(comm, dataset, fields, other)), keys,
                  fractions != nullptr && fractions->key.empty()));
  return report;
}

void apply_leak_policy(Communicator& comm, const LeakReport& report, const std::string& policy,
                       const LogSink& log) {
  if (comm.rank() == 0 && !report.scores.empty()) {
    std::vector<std::string> best;
    for (std::size_t i = 0; i < std::min<std::size_t>(3, report.scores.size()); ++i)
      best.push_back(fmt::format("{} {:.3f}", report.scores[i].name, report.scores[i].auc));
    log(LogLevel::kInfo, fmt::format("leak guard: {} rows; best features alone, by AUC: {}",
                                     human_count(report.rows), join(best, ", ")));
  }
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
