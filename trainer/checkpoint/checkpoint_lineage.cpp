#include "trainer/checkpoint/checkpoint_lineage.h"

#include <algorithm>
#include <limits>

#include "core/random_id.h"
#include "core/text.h"
#include "trainer/checkpoint/checkpoint_manifest.h"

namespace muster {
namespace {

std::string claim_file(std::uint64_t generation) { return fmt::format("g{:04}.json", generation); }

std::vector<CheckpointName> checkpoints_in(FileSystem& files, const std::filesystem::path& directory) {
  std::vector<CheckpointName> result;
  for (const std::string& entry : files.list(directory)) {
    if (const auto name = CheckpointName::parse(entry)) result.push_back(*name);
  }
  std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return result;
}

/// The parent a claim names. The line is there twice, an empty one between, so that one bad byte
/// does not lose it.
std::string parent_in_claim(FileSystem& files, const std::filesystem::path& directory,
                            std::uint64_t generation) {
  const std::filesystem::path path = directory / "claims" / claim_file(generation);
  std::optional<Error> first;
  for (const std::string& line : split(files.read_text(path), '\n')) {
    const auto claim = attempt([&] { return unseal(line + "\n", path.string()); });
    if (claim && member<std::uint64_t>(claim.value(), "generation", path.string()) != generation)
      throw Error(ErrorCode::kStorage, "is the claim of another generation", path.string());
    if (claim) return member<std::string>(claim.value(), "parent", path.string());
    if (!first) first = claim.error();
  }
  throw Error(first.value_or(Error(ErrorCode::kStorage, "is empty", path.string())));
}

std::vector<std::uint64_t> claimed_generations(FileSystem& files, const std::filesystem::path& directory) {
  std::vector<std::uint64_t> generations;
  for (const std::string& entry : files.list(directory / "claims")) {
    const auto name = CheckpointName::parse(entry.substr(0, entry.find('.')) + "-step-00000000");
    if (name && claim_file(name->generation) == entry) generations.push_back(name->generation);
  }
  return generations;
}

/// The highest generation below this one of which there is anything; 0 for none.
std::uint64_t generation_before(FileSystem& files, const std::filesystem::path& directory,
                                const std::vector<CheckpointName>& checkpoints, std::uint64_t generation) {
  std::vector<std::uint64_t> generations = claimed_generations(files, directory);
  for (const CheckpointName& name : checkpoints) generations.push_back(name.generation);
  std::uint64_t before = 0;
  for (const std::uint64_t other : generations) {
    if (other < generation) before = std::max(before, other);
  }
  return before;
}

}  // namespace

std::uint64_t highest_claim(FileSystem& files, const std::filesystem::path& directory) {
  const std::vector<std::uint64_t> generations = claimed_generations(files, directory);
  return generations.empty() ? 0 : *std::max_element(generations.begin(), generations.end());
}

Lineage read_lineage(FileSystem& files, const std::filesystem::path& directory) {
  const std::vector<CheckpointName> all = checkpoints_in(files, directory);
  Lineage lineage;
  lineage.generation = highest_claim(files, directory);
  for (const CheckpointName& name : all) lineage.generation = std::max(lineage.generation, name.generation);

  CheckpointName newest{lineage.generation, std::numeric_limits<std::uint64_t>::max()};
  while (newest.generation > 0) {
    for (const CheckpointName& name : all) {
      if (name.generation == newest.generation && name.step <= newest.step)
        lineage.names.push_back(name.text());
    }
    const auto parent = attempt([&] { return parent_in_claim(files, directory, newest.generation); });
    if (parent && parent.value().empty()) break;
    const auto name = parent ? CheckpointName::parse(parent.value()) : std::nullopt;
    if (name && name->generation < newest.generation) {
      newest = *name;
      const bool exists =
          std::any_of(all.begin(), all.end(), [&](const auto& n) { return n.text() == parent.value(); });
      if (!exists) lineage.names.push_back(parent.value());
    } else {
      // Nobody knows where this generation came from: everything before it is better than nothing.
      lineage.damage.push_back(parent
                                   ? Error(ErrorCode::kStorage, "names no earlier checkpoint as its parent",
                                           (directory / "claims" / claim_file(newest.generation)).string())
                                   : parent.error());
      newest = {generation_before(files, directory, all, newest.generation),
                std::numeric_limits<std::uint64_t>::max()};
    }
  }
  return lineage;
}

bool write_claim(FileSystem& files, const std::filesystem::path& directory, std::uint64_t generation,
                 const std::string& parent, const std::string& run_id) {
  const std::filesystem::path claims = directory / "claims";
  const std::string line = seal({{"format", 1},
                                 {"generation", generation},
                                 {"parent", parent},
                                 {"run_id", run_id},
                                 {"created", iso_time(seconds_since_epoch())}},
                                -1);
  const std::filesystem::path draft = claims / fmt::format(".{}-{}", claim_file(generation), random_id());
  {
    const auto file = files.create(draft);
    file->append(line + "\n" + line);
    file->sync();
  }
  const bool won = files.link(draft, claims / claim_file(generation));
  files.remove_all(draft);
  if (won) files.sync_directory(claims);
  return won;
}

std::string parent_of_generation(FileSystem& files, const std::filesystem::path& directory,
                                 const std::string& name) {
  const auto parsed = CheckpointName::parse(name);
  if (!parsed) throw Error(ErrorCode::kStorage, "is no name of a checkpoint", name);
  return parent_in_claim(files, directory, parsed->generation);
}

}  // namespace muster
