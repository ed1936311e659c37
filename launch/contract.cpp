#include "data_loader/contract/contract.h"

#include "core/file_system.h"
#include "core/text.h"
#include "data_loader/contract/contract_difference.h"
#include "data_loader/ingest/draft_sources.h"
#include "launch/invocation.h"
#include "launch/programs.h"
#include "trainer/checkpoint/checkpoint_path.h"
#include "trainer/checkpoint/checkpoint_store.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

void write_new(FileSystem& files, const fs::path& path, const std::string& text) {
  if (files.exists(path))
    throw Error(ErrorCode::kUsage, "is there already: remove it, or choose another --out", path.string());
  files.replace(path, text);
}

std::size_t decisions(const std::string& text) {
  std::size_t count = 0;
  for (const std::string& line : split(text, '\n')) {
    if (trim(line).starts_with("# DECIDE")) ++count;
  }
  return count;
}

int init(Console& console, DraftOptions options, const std::string& out) {
  options.probe = probe_program();
  options.log = console.sink();
  const Drafted drafted = draft_contract(options);
  const std::string contract = draft_text(drafted.draft);
  const Json json = {{"rows", drafted.draft.rows},
                     {"fields", drafted.draft.fields.size()},
                     {"decisions", decisions(contract)},
                     {"contract", contract},
                     {"out", out}};
  if (out.empty()) {
    console.result(json, trim(contract));
    return 0;
  }
  const auto files = make_posix_file_system();
  const fs::path directory(out);
  std::vector<fs::path> sources;
  for (const fs::path& file : options.files) sources.push_back(fs::absolute(file));
  files->make_directories(directory);
  write_new(*files, directory / "contract.yaml", contract);
  std::string next = "muster validate " + shell_quoted(out);
  if (drafted.csv) {
    write_new(*files, directory / "ingest.yaml", ingest_text(drafted, sources, "contract.yaml"));
    next = fmt::format("muster ingest {} --out DATA && muster validate DATA",
                       shell_quoted((directory / "ingest.yaml").string()));
  }
  console.result(json, fmt::format("{}: {} fields drafted from {} rows; {} lines say DECIDE. Then: {}",
                                   (directory / "contract.yaml").string(), drafted.draft.fields.size(),
                                   human_count(drafted.draft.rows), decisions(contract), next));
  return 0;
}

/// A contract file, a dataset directory, a checkpoint or a run.
Contract contract_at(FileSystem& files, const std::string& path, const LogSink& log) {
  if (fs::is_regular_file(path)) return Contract::load(path);
  if (files.exists(fs::path(path) / "contract.yaml")) return Contract::load(fs::path(path) / "contract.yaml");
  if (!files.exists(path))
    throw Error(ErrorCode::kStorage, "is not there: no contract.yaml, dataset, checkpoint or run", path);
  return Contract::load(resolve_checkpoint(files, path, log) / "contract.yaml");
}

int diff(Console& console, const std::string& before, const std::string& after) {
  const auto files = make_posix_file_system();
  const Contract a = contract_at(*files, before, console.sink());
  const Contract b = contract_at(*files, after, console.sink());
  const ContractDifference difference = compare(a, b);
  console.result(difference.to_json(), difference.text());
  return 0;
}

}  // namespace

void add_contract(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("contract", "draft a contract from data; what changed between two");
  command->require_subcommand(1);
  CLI::App* drafts = add_command(*command, invocation, "init", "draft a contract from CSV or HDF5 files",
                                 "muster contract init sales-*.csv --out my-sales");
  auto options = std::make_shared<DraftOptions>();
  auto out = std::make_shared<std::string>();
  drafts->add_option("FILES", options->files, "files of one layout: CSV (gzip-compressed or not) or HDF5")
      ->required();
  drafts->add_option("--out", *out,
                     "directory for contract.yaml and, for CSV, ingest.yaml; without it: printed");
  drafts->callback([&invocation, options, out] {
    invocation.action = [&invocation, options, out] {
      Console console(invocation.json, false);
      return init(console, *options, *out);
    };
  });
  CLI::App* differs = add_command(*command, invocation, "diff",
                                  "what changed from A to B, and whether a model of A's data can use B's",
                                  "muster contract diff runs/churn data/new");
  auto before = std::make_shared<std::string>();
  auto after = std::make_shared<std::string>();
  differs->add_option("A", *before, "contract.yaml, a dataset, a checkpoint or a run directory")->required();
  differs->add_option("B", *after, "the same of the other one")->required();
  differs->callback([&invocation, before, after] {
    invocation.action = [&invocation, before, after] {
      Console console(invocation.json, false);
      return diff(console, *before, *after);
    };
  });
}

}  // namespace muster
