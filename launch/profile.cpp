#include "core/file_system.h"
#include "core/text.h"
#include "launch/guard.h"
#include "launch/invocation.h"
#include "launch/profile_page.h"
#include "trainer/comm/agreement.h"
#include "trainer/data/dataset_profile.h"

namespace muster {
namespace {

struct Flags {
  std::string directory;
  std::string root;
  std::string html;
  std::string out;
};

std::string cell(const Json& json, const std::string& key) {
  const Json value = json.value(key, Json());
  if (value.is_number_unsigned()) return human_count(value.get<std::uint64_t>());
  return value.is_number() ? fmt::format("{:.4g}", value.get<double>()) : "-";
}

std::string describe(const Json& profile) {
  std::vector<std::string> lines;
  for (const Json& field : profile.at("fields")) {
    lines.push_back(fmt::format("{} ({}, {})", field.at("name").get<std::string>(),
                                field.at("role").get<std::string>(), field.at("dtype").get<std::string>()));
    for (const Json& split : profile.at("splits")) {
      const auto name = split.at("name").get<std::string>();
      const Json& s = field.at("splits").at(name);
      if (s.at("count") == 0 && s.at("missing") == 0) continue;
      std::string line =
          fmt::format("  {:12} {:>11} values  {:>9} missing  {:>7} distinct", name, cell(s, "count"),
                      cell(s, "missing"), s.contains("distinct") ? cell(s, "distinct") : "many");
      if (s.contains("mean"))
        line += fmt::format("  mean {} ± {}  median {}  {} to {}", cell(s, "mean"), cell(s, "deviation"),
                            cell(s.at("quantiles"), "0.5"), cell(s, "minimum"), cell(s, "maximum"));
      if (!s.contains("mean") && s.contains("top") && !s.at("top").empty())
        line +=
            fmt::format("  most often {} ({})", readable_text(s.at("top")[0].at("value").get<std::string>()),
                        cell(s.at("top")[0], "count"));
      lines.push_back(std::move(line));
    }
  }
  const auto findings = profile_findings(profile);
  if (!findings.empty()) lines.emplace_back("worth a look:");
  for (const std::string& finding : findings) lines.push_back("  " + finding);
  return join(lines, "\n");
}

int profile(Ranks& ranks, const Flags& flags, Console& console) {
  const Dataset dataset =
      together(ranks.comm(), "open dataset", [&] { return Dataset::open(flags.directory, flags.root); });
  if (const std::string warning = dataset.warning(); !warning.empty()) console.warning(warning);
  const Json json = profile_dataset(ranks.comm(), dataset, [&console](std::uint64_t done, std::uint64_t all) {
    console.status(fmt::format("{} of {} blocks read", human_count(done), human_count(all)));
  });
  together(ranks.comm(), "write profile", [&] {
    if (ranks.comm().rank() != 0) return 0;
    const auto files = make_posix_file_system();
    if (!flags.out.empty()) files->replace(flags.out, canonical(json) + "\n");
    if (!flags.html.empty())
      files->replace(flags.html,
                     profile_page(json, std::filesystem::path(flags.directory).filename().string()));
    return 0;
  });
  console.result(json, describe(json));
  return 0;
}

}  // namespace

void add_profile(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "profile",
                  "statistics of every field per split: text, JSON, one HTML page; also under mpirun",
                  "muster profile data/card-fraud --html profile.html");
  auto flags = std::make_shared<Flags>();
  command->add_option("DIR", flags->directory, "a validated dataset")->required();
  command->add_option("--root", flags->root, "where its partitions lie, if not in DIR");
  command->add_option("--html", flags->html, "write a page with histograms to this file");
  command->add_option("--out", flags->out, "write the JSON to this file");
  command->callback([&invocation, flags] {
    invocation.collective = true;
    invocation.action = [&invocation, flags] {
      return with_ranks({}, [&](Ranks& ranks) {
        Console console(invocation.json, ranks.comm().rank() != 0);
        return profile(ranks, *flags, console);
      });
    };
  });
}

}  // namespace muster
