#include "trainer/checkpoint/checkpoint_manifest.h"

#include <charconv>

#include "core/hash.h"

namespace muster {
namespace {

constexpr const char* kSeal = "sha256";
constexpr int kMaxDepth = 100;

std::string render(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<std::uint64_t> number(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string checkpoint_name(std::uint64_t generation, std::uint64_t step) {
  return CheckpointName{generation, step}.text();
}

std::string CheckpointName::text() const { return fmt::format("g{:04}-step-{:08}", generation, step); }

std::optional<CheckpointName> CheckpointName::parse(std::string_view text) {
  constexpr std::string_view kMiddle = "-step-";
  const std::size_t middle = text.find(kMiddle);
  if (!text.starts_with('g') || middle == std::string_view::npos) return std::nullopt;
  const auto generation = number(text.substr(1, middle - 1));
  const auto step = number(text.substr(middle + kMiddle.size()));
  if (!generation || !step) return std::nullopt;
  const CheckpointName name{*generation, *step};
  return name.text() == text ? std::optional(name) : std::nullopt;
}

std::string seal(const Json& value, int indent) {
  Json sealed = value;
  sealed[kSeal] = sha256(canonical(value)).hex();
  return render(sealed, indent);
}

Json unseal(std::string_view text, const std::string& where) {
  const auto damaged = [&](const char* how) {
    return Error(ErrorCode::kStorage, fmt::format("is damaged: {}", how), where);
  };
  const Json::parser_callback_t shallow = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) throw damaged("it is nested too deeply");
    return true;
  };
  Json value;
  try {
    value = Json::parse(text, shallow);
  } catch (const Json::exception&) {
    throw damaged("it is not JSON");
  }
  if (!value.is_object() || !value.contains(kSeal)) throw damaged("its SHA-256 is missing");
  const bool unchanged = render(value, -1) == text || render(value, 2) == text;
  const Json stated = value[kSeal];
  value.erase(kSeal);
  if (!unchanged || stated != sha256(canonical(value)).hex())
    throw damaged("it does not fit its own SHA-256");
  return value;
}

std::map<std::string, FileStamp> listed_files(const Json& manifest, const std::string& where) {
  std::map<std::string, FileStamp> result;
  const Json files = member<Json>(manifest, "files", where);
  if (!files.is_object()) throw Error(ErrorCode::kStorage, "'files' is not an object", where);
  for (const auto& [name, stamp] : files.items()) {
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos) {
      throw Error(ErrorCode::kStorage, fmt::format("lists '{}', which is no file name", name), where);
    }
    result[name] = {member<std::uint64_t>(stamp, "size", where), member<std::string>(stamp, "sha256", where)};
  }
  return result;
}

}  // namespace muster
