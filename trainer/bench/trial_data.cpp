#include "trainer/bench/trial_data.h"

#include "core/error.h"
#include "data_loader/dataset/validate.h"
#include "data_loader/generators/generator.h"

namespace muster {

void make_trial_data(const std::filesystem::path& directory, const TrialData& wanted) {
  if (std::filesystem::exists(directory / "manifest.json")) return;
  std::filesystem::remove_all(directory);
  GenerateOptions make;
  make.kind = "tabular";
  make.rows = wanted.rows;
  make.partitions = wanted.partitions;
  make.seed = wanted.seed;
  make.out = directory;
  generate(make);
  ValidateOptions options;
  options.directory = directory;
  options.block_rows = wanted.block_rows;
  const ValidateReport report = validate(options);
  if (!report.faults.empty()) throw Error(report.faults.front());
}

}  // namespace muster
