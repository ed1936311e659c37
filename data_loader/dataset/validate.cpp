#include "data_loader/dataset/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <tuple>

#include "core/file_lock.h"
#include "core/file_system.h"
#include "core/text.h"
#include "data_loader/contract/contract.h"
#include "data_loader/dataset/fault_list.h"
#include "data_loader/dataset/partition_scan.h"
#include "data_loader/dataset/partition_survey.h"
#include "data_loader/dataset/scan_assembly.h"

namespace muster {

namespace {

namespace fs = std::filesystem;

/// Calls body(0) … body(count - 1) from several threads. Rethrows the first failure once all threads have
/// ended.
template <typename Body>
void for_each_index(std::size_t count, unsigned threads, const Body& body) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < count; i = next++) body(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> workers;
    for (std::size_t i = 0; i < std::clamp<std::size_t>(threads, 1, count); ++i) workers.emplace_back(work);
  }
  if (failure) std::rethrow_exception(failure);
}

void report_faults(const FaultList& faults, const LogSink& log, ValidateReport& report) {
  report.faults = faults.kept();
  report.fault_count = faults.count();
  report.faults_by_field = faults.by_field();
  for (const auto& [field, count] : faults.by_field()) {
    log(LogLevel::kWarning, fmt::format("{}: {} value{} break{} the contract", field, human_count(count),
                                        count == 1 ? "" : "s", count == 1 ? "s" : ""));
  }
}

void report_splits(const Contract& contract, const ScanAssembly& assembly, ValidateReport& report) {
  report.rows_in_no_split = report.rows;
  for (const std::string& name : assembly.rows().split_names()) {
    const std::uint8_t split = assembly.rows().split(name);
    SplitSummary summary{name, assembly.rows().rows(split), {}, {}, {}};
    if (const auto times = assembly.totals().times.find(split); times != assembly.totals().times.end())
      summary.times = {times->second.first, times->second.last};
    for (const auto& [label, counts] : assembly.labels()) {
      auto values = counts.of(split, contract.field(label).dtype);
      (contract.labels().size() == 1 ? summary.label_counts : summary.counts_of_labels[label]) =
          std::move(values);
    }
    report.rows_in_no_split -= summary.rows;
    if (summary.rows == 0) report.warnings.push_back(fmt::format("the split '{}' has no rows", name));
    report.splits.push_back(std::move(summary));
  }
}

/// What the manifest on disk has and the new one has not: somebody may have lost a file.
void report_vanished(const fs::path& directory, const Manifest& manifest, ValidateReport& report) {
  const auto files = make_posix_file_system();
  const fs::path path = directory / "manifest.json";
  if (!files->exists(path)) return;
  const auto earlier = attempt(
      [&] { return Manifest::from_json(parse_json(files->read_text(path), path.string()), path.string()); });
  if (!earlier.ok()) return;  // it is replaced anyway
  for (const Partition& partition : earlier.value().partitions) {
    const bool there = std::any_of(manifest.partitions.begin(), manifest.partitions.end(),
                                   [&](const Partition& now) { return now.name == partition.name; });
    if (there) continue;
    report.warnings.push_back(
        fmt::format("{} with {} rows was in the last manifest and is not there any more", partition.name,
                    partition.rows));
  }
}

void report_twins(const Manifest& manifest, ValidateReport& report) {
  std::map<Sha256, std::string> seen;
  for (const Partition& partition : manifest.partitions) {
    const auto [first, is_new] = seen.emplace(partition.content, partition.name);
    if (is_new || partition.rows == 0) continue;
    report.warnings.push_back(fmt::format("{} and {} have the same content: the same rows count twice",
                                          first->second, partition.name));
  }
}

/// Fields that miss more values than the contract lets them.
void check_missing(const Contract& contract, const ValidateReport& report, const fs::path& directory,
                   FaultList& faults) {
  for (const Field& field : contract.fields()) {
    if (!field.max_missing) continue;
    const auto found = report.missing.find(field.name);
    const std::uint64_t missing = found == report.missing.end() ? 0 : found->second;
    const double share = static_cast<double>(missing) / static_cast<double>(report.rows);
    if (share <= *field.max_missing) continue;
    faults.add(Error(ErrorCode::kData,
                     fmt::format("'{}' is missing in {} of {} rows ({:.4g}), `max_missing` is {}", field.name,
                                 human_count(missing), human_count(report.rows), share, *field.max_missing),
                     directory.string()));
  }
}

/// Values that occur twice in a unique field.
void check_unique(const Field& field, std::vector<UniqueValue> values, const PartitionSurvey& survey,
                  FaultList& faults) {
  std::sort(values.begin(), values.end(), [](const UniqueValue& a, const UniqueValue& b) {
    return std::tie(a.key, a.partition, a.row) < std::tie(b.key, b.partition, b.row);
  });
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (values[i].key != values[i - 1].key) continue;
    const auto place = [&](const UniqueValue& value) {
      return fmt::format("{}:{}[{}]", survey.files[value.partition].string(), field.location(), value.row);
    };
    faults.add(field.name, [&] {
      return Error(ErrorCode::kData,
                   fmt::format("the same '{}' as in {}, though the contract says `unique`", field.name,
                               place(values[i - 1])),
                   place(values[i]));
    });
  }
}

Contract load_contract(const fs::path& directory) {
  const fs::path path = directory / "contract.yaml";
  if (std::error_code unreadable; !fs::exists(path, unreadable)) {
    throw Error(ErrorCode::kConfig,
                "has no contract.yaml: write one that says what the fields are (docs/contract.md)",
                directory.string());
  }
  return Contract::load(path);
}

/// Partitions that an interrupted `ingest --append` left: whether they are whole, and whether their rows came
/// a second time, nobody knows.
void refuse_left_over(const std::vector<IngestRecord>& records, PartitionSurvey& survey) {
  if (records.empty()) return;
  std::set<std::string> recorded;
  for (const IngestRecord& record : records)
    recorded.insert(record.partitions.begin(), record.partitions.end());
  for (std::size_t i = 0; i < survey.partitions.size(); ++i) {
    const std::string& name = survey.partitions[i].name;
    if (!is_partition_name(name) || recorded.contains(name)) continue;
    survey.faults.add(Error(
        ErrorCode::kData, "is in no finished ingest of sources.json: remove it, then ingest its source again",
        survey.files[i].string()));
  }
}

/// Rows that were ingested and are not there.
void report_taken_away(const std::vector<IngestRecord>& records, const Contract& contract,
                       PartitionSurvey& survey) {
  if (!contract.partitions().empty()) return;
  std::set<std::string> there;
  for (const fs::path& file : survey.files) there.insert(file.filename());
  for (const IngestRecord& record : records) {
    for (const std::string& name : record.partitions) {
      if (!there.contains(name))
        survey.warnings.push_back(name + " was ingested (sources.json) and is not there, or cannot be used");
    }
  }
}

/// Reads all partitions; the report gets faults or, if there are none, everything else.
void scan_all(const ValidateOptions& options, const Contract& contract, const PartitionSurvey& survey,
              const std::vector<IngestRecord>& records, ValidateReport& report) {
  const std::size_t count = survey.partitions.size();
  ScanAssembly assembly(contract, survey.partitions, options.max_faults);
  std::atomic<std::size_t> done{0};
  const std::vector<std::uint64_t> before = rows_before(survey.partitions);
  for_each_index(count, options.threads, [&](std::size_t i) {
    const Partition& partition = survey.partitions[i];
    assembly.add(i, scan_partition(contract, partition, static_cast<std::uint32_t>(i), before,
                                   survey.files[i], options.max_faults));
    options.log(LogLevel::kInfo, fmt::format("{}: {} rows read ({} of {})", partition.name,
                                             human_count(partition.rows), ++done, count));
  });
  report.bytes = assembly.bytes();
  report.rows = assembly.manifest().rows();
  report.missing = assembly.totals().missing;
  report.dropped = assembly.totals().dropped;
  report.dropped_rows = assembly.totals().dropped_rows;
  FaultList faults = assembly.faults();
  check_missing(contract, report, options.directory, faults);
  for (auto& [field, values] : assembly.take_unique())
    check_unique(contract.field(field), std::move(values), survey, faults);
  report_faults(faults, options.log, report);
  if (report.fault_count > 0) return;
  assembly.seal(records);
  report.manifest = assembly.manifest();
  report_splits(contract, assembly, report);
  report_vanished(options.directory, report.manifest, report);
  report_twins(report.manifest, report);
  assembly.write(options.directory);
}

}  // namespace

Json ValidateReport::to_json() const {
  Json splits_json = Json::object();
  for (const SplitSummary& split : splits) {
    const Json counts =
        split.counts_of_labels.empty() ? Json(split.label_counts) : Json(split.counts_of_labels);
    splits_json[split.name] = {{"rows", split.rows}, {"label_counts", counts}};
    if (split.times) splits_json[split.name]["times"] = {split.times->first, split.times->second};
  }
  Json faults_json = Json::array();
  for (const Error& fault : faults) {
    faults_json.push_back(
        {{"where", fault.where()}, {"message", fault.message()}, {"code", fault.exit_code()}});
  }
  Json json = {{"rows", rows},
               {"rows_in_no_split", rows_in_no_split},
               {"rows_dropped", dropped_rows},
               {"dropped_by_field", dropped},
               {"missing_by_field", missing},
               {"tokens_left_over", tokens_left_over},
               {"bytes", bytes},
               {"partitions", manifest.partitions.size()},
               {"splits", std::move(splits_json)},
               {"faults", std::move(faults_json)},
               {"fault_count", fault_count},
               {"faults_by_field", faults_by_field},
               {"warnings", warnings}};
  json["fingerprint"] = fault_count == 0 ? Json(manifest.fingerprint().hex()) : Json();
  return json;
}

ValidateReport validate(const ValidateOptions& options) {
  if (std::error_code unreadable; !fs::is_directory(options.directory, unreadable)) {
    throw Error(ErrorCode::kConfig, "there is no such dataset directory", options.directory.string());
  }
  std::optional<FileLock> lock;  // of an ingest that is under way, or was when it was killed
  if (std::error_code unknown; fs::exists(options.directory / ".ingest.lock", unknown))
    lock.emplace(options.directory / ".ingest.lock",
                 "`muster ingest` is writing there: wait until it is done");
  const Contract contract = load_contract(options.directory);
  const auto absolute = [](const std::string& pattern) { return fs::path(pattern).is_absolute(); };
  if (!options.root.empty() && std::ranges::any_of(contract.partitions(), absolute))
    throw Error(
        ErrorCode::kUsage,
        "--root moves nothing: `partitions:` of the contract are absolute; make them relative to the root",
        (options.directory / "contract.yaml").string());
  PartitionSurvey survey =
      survey_partitions(contract, options.root.empty() ? options.directory : options.root, options);
  const std::vector<IngestRecord> records = load_sources(*make_posix_file_system(), options.directory);
  refuse_left_over(records, survey);
  report_taken_away(records, contract, survey);
  ValidateReport report;
  report.warnings = std::move(survey.warnings);
  report.tokens_left_over = std::move(survey.tokens_left_over);
  if (survey.faults.empty()) {
    scan_all(options, contract, survey, records, report);
  } else {
    report_faults(survey.faults, options.log, report);
  }
  for (const std::string& warning : report.warnings) options.log(LogLevel::kWarning, warning);
  return report;
}

}  // namespace muster
