#include "core/text.h"
#include "data_loader/reading/probe.h"
#include "launch/invocation.h"
#include "launch/programs.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::vector<fs::path> files;
  bool every_row = false;
  double seconds = 20;
};

std::string extents(const std::vector<std::uint64_t>& shape) {
  std::vector<std::string> parts;
  for (const std::uint64_t extent : shape) parts.push_back(std::to_string(extent));
  return "[" + join(parts, ", ") + "]";
}

/// Why a field of a contract cannot read it, or "".
std::string no_field(const DatasetLayout& layout) {
  if (!layout.refusal.empty()) return layout.refusal;
  if (!layout.dtype) return "no field can be of this type";
  if (layout.single || layout.shape.empty()) return "a single value, no rows";
  if (layout.dtype == DType::kString && layout.shape.size() > 1) return "several texts per row";
  return "";
}

Json to_json(const DatasetLayout& layout) {
  Json json = {{"path", layout.path},
               {"type", layout.type_name},
               {"shape", layout.shape},
               {"filters", layout.filters},
               {"field", no_field(layout).empty()}};
  if (!layout.member.empty()) json["member"] = layout.member;
  if (layout.dtype) json["dtype"] = to_string(*layout.dtype);
  if (!layout.chunk.empty()) json["chunk"] = layout.chunk;
  if (layout.text_bytes > 0) json["length"] = layout.text_bytes;
  if (layout.single) json["single"] = true;
  if (const std::string why = no_field(layout); !why.empty()) json["why"] = why;
  return json;
}

std::string line(const DatasetLayout& layout) {
  std::string text = fmt::format("  {:32} {:22} {}", layout.location(), layout.type_name,
                                 layout.refusal.empty() ? extents(layout.shape) : "");
  if (!layout.chunk.empty()) text += " chunks " + extents(layout.chunk);
  for (const std::string& filter : layout.filters) text += " " + filter;
  if (const std::string why = no_field(layout); !why.empty()) text += "  (" + why + ")";
  return text;
}

int inspect(Console& console, const Flags& flags) {
  ProbeLimits limits;
  limits.every_row = flags.every_row;
  limits.seconds_per_file = flags.seconds;
  const auto answers = probe_files(probe_program(), flags.files, limits);
  Json files = Json::array();
  std::size_t refused = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const std::string path = flags.files[i].string();
    if (!answers[i].ok()) {
      ++refused;
      files.push_back({{"file", path}, {"refused", answers[i].error().message()}});
      console.warning(answers[i].error().what());
      continue;
    }
    Json datasets = Json::array();
    console.line(fmt::format("{}: {} datasets{}", path, answers[i].value().size(),
                             flags.every_row ? ", read to their ends" : ""));
    for (const DatasetLayout& layout : answers[i].value()) {
      datasets.push_back(to_json(layout));
      console.line(one_line(line(layout)));
    }
    files.push_back({{"file", path}, {"datasets", std::move(datasets)}});
  }
  console.result({{"files", files}, {"refused", refused}}, "");
  if (refused == 0) return 0;
  throw Error(ErrorCode::kData, fmt::format("{} of {} files cannot be used", refused, answers.size()));
}

}  // namespace

void add_inspect(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, invocation, "inspect",
                                  "what is in HDF5 files, opened in a process of its own that damaged ones "
                                  "may crash; 65 if a file cannot be used",
                                  "muster inspect --rows 2026-*.h5");
  auto flags = std::make_shared<Flags>();
  command->add_option("FILES", flags->files, "HDF5 files")->required();
  command->add_flag("--rows", flags->every_row, "read every row, not the first and the last one only");
  command->add_option("--seconds", flags->seconds, "how long one file may take")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 1e6));
  command->callback([&invocation, flags] {
    invocation.action = [&invocation, flags] {
      Console console(invocation.json, false);
      return inspect(console, *flags);
    };
  });
}

}  // namespace muster
