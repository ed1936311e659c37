#include "launch/profile_page.h"

#include <algorithm>
#include <vector>

#include "core/text.h"

namespace muster {
namespace {

constexpr double kMostlyMissing = 0.5;
constexpr double kNearlyAll = 0.99;
constexpr double kFar = 0.1;  // of distribution functions, or of shares

constexpr const char* kStyle = R"(
:root{color-scheme:light dark;--bar:#3b7dd8;--line:#8884;--soft:#8881}
body{font:15px/1.45 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2.2rem 0 .3rem}small{opacity:.7;font-weight:normal}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.4rem 0}
th,td{padding:.15rem .7rem;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}
.splits{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0}figcaption{font-size:.85rem;opacity:.75}
svg rect{fill:var(--bar)}svg .axis{stroke:var(--line)}ul.look li{margin:.15rem 0}
.top td:nth-child(2){min-width:7rem}.share{display:inline-block;height:.7em;background:var(--bar);vertical-align:baseline}
@media print{h2{break-after:avoid}figure,table{break-inside:avoid}}
)";

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return safe;
}

std::string number(const Json& json, const std::string& key) {
  const Json value = json.value(key, Json());
  if (value.is_number_unsigned()) return human_count(value.get<std::uint64_t>());
  return value.is_number() ? fmt::format("{:.5g}", value.get<double>()) : "–";
}

double share(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::uint64_t cells(const Json& split) {
  return split.at("count").get<std::uint64_t>() + split.at("missing").get<std::uint64_t>();
}

std::string bars(const std::vector<std::uint64_t>& bins, const std::string& label) {
  constexpr int kWidth = 240;
  constexpr int kHeight = 90;
  const std::uint64_t most = std::max<std::uint64_t>(1, *std::ranges::max_element(bins));
  std::string svg =
      fmt::format("<svg width=\"{}\" height=\"{}\" role=\"img\" aria-label=\"{}\">", kWidth, kHeight, label);
  const double step = static_cast<double>(kWidth) / static_cast<double>(bins.size());
  for (std::size_t i = 0; i < bins.size(); ++i) {
    const double height = share(bins[i], most) * (kHeight - 2);
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>{}</title></rect>",
        static_cast<double>(i) * step, kHeight - 1 - height, step - 1, height, human_count(bins[i]));
  }
  return svg + fmt::format("<line class=\"axis\" x1=\"0\" x2=\"{0}\" y1=\"{1}\" y2=\"{1}\"/></svg>", kWidth,
                           kHeight - 1);
}

std::string top_table(const Json& split) {
  std::string table = "<table class=\"top\"><tr><th>value</th><th></th><th>rows</th></tr>";
  const std::uint64_t count = split.at("count").get<std::uint64_t>();
  for (const Json& value : split.at("top")) {
    const auto rows = value.at("count").get<std::uint64_t>();
    table += fmt::format(
        "<tr><td>{}</td><td><span class=\"share\" style=\"width:{:.0f}px\"></span></td><td>{}</td></tr>",
        escaped(value.at("value").get<std::string>()), 1 + 110 * share(rows, count), human_count(rows));
  }
  return table + "</table>";
}

/// A histogram where there is one and many values, else the frequent values.
std::string picture(const Json& field, const std::string& name, const Json& split) {
  const bool few = split.contains("top") && split.value("distinct", std::uint64_t{0}) <= 12;
  std::string inside;
  if (split.contains("histogram") && !few) {
    const Json& bins = field.at("bins");
    inside = bars(split.at("histogram").get<std::vector<std::uint64_t>>(), "histogram") +
             fmt::format("<div><small>{:.5g} to {:.5g}</small></div>", bins.at("from").get<double>(),
                         bins.at("to").get<double>());
  } else if (split.contains("top") && !split.at("top").empty()) {
    inside = top_table(split);
  } else {
    return "";
  }
  return "<figure><figcaption>" + escaped(name) + "</figcaption>" + inside + "</figure>";
}

std::string field_section(const Json& profile, const Json& field) {
  const std::string unit = field.at("unit").get<std::string>();
  std::string html =
      fmt::format("<h2 id=\"{0}\">{0} <small>{1}, {2}{3}</small></h2>",
                  escaped(field.at("name").get<std::string>()), escaped(field.at("role").get<std::string>()),
                  escaped(field.at("dtype").get<std::string>()), unit.empty() ? "" : ", " + escaped(unit));
  html +=
      "<table><tr><th>split</th><th>values</th><th>missing</th><th>distinct</th><th>mean</th><th>deviation</"
      "th><th>min</th>"
      "<th>5 %</th><th>median</th><th>95 %</th><th>max</th><th>distance</th></tr>";
  std::string pictures;
  for (const Json& known : profile.at("splits")) {
    const auto name = known.at("name").get<std::string>();
    const Json& split = field.at("splits").at(name);
    if (cells(split) == 0) continue;
    const Json quantiles = split.value("quantiles", Json::object());
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{:.3g} "
        "%</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td>{}</td><td>{}</td><td>{}</td></tr>",
        escaped(name), number(split, "count"),
        100 * share(split.at("missing").get<std::uint64_t>(), cells(split)),
        split.at("count") == 0       ? "–"
        : split.contains("distinct") ? number(split, "distinct")
                                     : "many",
        number(split, "mean"), number(split, "deviation"), number(split, "minimum"),
        number(quantiles, "0.05"), number(quantiles, "0.5"), number(quantiles, "0.95"),
        number(split, "maximum"), number(split, "distance"));
    pictures += picture(field, name, split);
  }
  return html + "</table><div class=\"splits\">" + pictures + "</div>\n";
}

void look_at(const Json& field, const std::string& split_name, const Json& split,
             std::vector<std::string>& found) {
  const auto name = field.at("name").get<std::string>();
  const auto count = split.at("count").get<std::uint64_t>();
  const double missing = share(split.at("missing").get<std::uint64_t>(), cells(split));
  if (cells(split) == 0) return;
  if (missing > kMostlyMissing)
    found.push_back(fmt::format("{}: {:.3g} % missing in {}", name, 100 * missing, split_name));
  if (count == 0) return;
  const Json distance = split.value("distance", Json());
  const bool compared =
      field.at("role") == "feature" || field.at("role") == "label";  // keys and times differ by nature
  if (compared && distance.is_number() && distance.get<double>() > kFar)
    found.push_back(fmt::format("{}: {} is at a distance of {:.2g} from the first split", name, split_name,
                                distance.get<double>()));
  if (!split.contains("distinct") || split.at("top").empty()) return;
  const auto distinct = split.at("distinct").get<std::uint64_t>();
  const double most = share(split.at("top")[0].at("count").get<std::uint64_t>(), count);
  const auto value = split.at("top")[0].at("value").get<std::string>();
  if (distinct == 1) {
    found.push_back(fmt::format("{}: always {} in {}", name, readable_text(value), split_name));
  } else if (most > kNearlyAll) {
    found.push_back(
        fmt::format("{}: {:.4g} % are {} in {}", name, 100 * most, readable_text(value), split_name));
  } else if (field.at("role") == "feature" && count > 100 && share(distinct, count) > kNearlyAll &&
             field.at("dtype") == "string") {
    found.push_back(
        fmt::format("{}: nearly every value is another one in {}: an identifier?", name, split_name));
  }
}

}  // namespace

std::vector<std::string> profile_findings(const Json& profile) {
  std::vector<std::string> found;
  for (const Json& field : profile.at("fields")) {
    for (const Json& split : profile.at("splits")) {
      const auto name = split.at("name").get<std::string>();
      if (name != "(no split)") look_at(field, name, field.at("splits").at(name), found);
    }
  }
  return found;
}

std::string profile_page(const Json& profile, const std::string& title) {
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">"
      "<title>{0}: profile</title><style>{1}</style></head><body>\n<h1>{0} <small>{2} rows, fingerprint "
      "{3}</small></h1>\n<table>"
      "<tr><th>split</th><th>rows</th></tr>",
      escaped(title), kStyle, number(profile, "rows"),
      escaped(profile.at("fingerprint").get<std::string>().substr(0, 16)));
  for (const Json& split : profile.at("splits"))
    html += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escaped(split.at("name").get<std::string>()),
                        number(split, "rows"));
  html += "</table>\n";
  const std::vector<std::string> findings = profile_findings(profile);
  if (!findings.empty()) {
    html += "<h2>Worth a look</h2><ul class=\"look\">";
    for (const std::string& finding : findings) html += "<li>" + escaped(finding) + "</li>";
    html += "</ul>\n";
  }
  for (const Json& field : profile.at("fields")) html += field_section(profile, field);
  return html +
         "<p><small>distance: to the first split, of the distribution functions (Kolmogorov–Smirnov) for "
         "numbers, total "
         "variation for texts; from sketches where there are more than 4,096 different "
         "values</small></p></body></html>\n";
}

}  // namespace muster
