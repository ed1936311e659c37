#include "trainer/checkpoint/start_weights.h"

#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "core/hash.h"
#include "core/text.h"
#include "trainer/checkpoint/checkpoint_path.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/weight_names.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNamesKey = "model.init_names";

/// What torch.save writes begins as a zip archive, what older versions wrote as a pickle. So can a file of
/// safetensors, by chance: this is for those that are none.
void refuse_pickle(std::span<const std::byte> bytes, const std::string& where) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with("PK\x03\x04") && !text.starts_with("\x80\x02") && !text.starts_with("\x80\x04"))
    return;
  throw Error(ErrorCode::kConfig,
              "is a pickle of PyTorch, which runs code when it is read; write the weights as safetensors: in "
              "Python, safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
              where);
}

WeightSource read_files(FileSystem& files, const std::string& where, const std::vector<fs::path>& paths) {
  WeightSource source;
  source.where = where;
  Sha256Hasher hasher;
  std::set<std::string> names;
  for (const fs::path& path : paths) {
    const std::vector<std::byte> bytes = files.read(path);
    hasher.update(bytes);
    Result<std::vector<TensorBlob>> tensors =
        attempt([&] { return parse_safetensors(bytes, path.string()); });
    if (!tensors) refuse_pickle(bytes, path.string());
    for (TensorBlob& tensor : tensors.value()) {
      if (!names.insert(tensor.name).second)
        throw Error(ErrorCode::kStorage, fmt::format("holds '{}', as another file does", tensor.name),
                    path.string());
      source.tensors.push_back(std::move(tensor));
    }
  }
  source.sha256 = hasher.finish().hex();
  return source;
}

/// Hugging Face's index of weights in several files: {"weight_map": {tensor: file}}.
std::vector<fs::path> files_of_index(FileSystem& files, const fs::path& index) {
  const std::string where = index.string();
  const Json map = member<Json>(parse_json(files.read_text(index), where), "weight_map", where);
  if (!map.is_object()) throw Error(ErrorCode::kStorage, "'weight_map' is not an object", where);
  std::set<std::string> names;
  for (const auto& [tensor, file] : map.items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
      throw Error(ErrorCode::kStorage, fmt::format("names no file beside it for '{}'", tensor), where);
    names.insert(file.get<std::string>());
  }
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(index.parent_path() / name);
  return paths;
}

WeightSource read_checkpoint(FileSystem& files, const std::string& from, const LogSink& log) {
  const fs::path directory = resolve_checkpoint(files, from, log);
  CheckpointContent content = load_checkpoint(files, directory).value();
  return {directory.string(), sha256(files.read_text(directory / "manifest.json")).hex(),
          std::move(content.model), std::move(content.pipeline)};
}

/// The source's tensor as the model wants it.
at::Tensor fitted(const std::string& ours, const at::Tensor& wanted, const TensorBlob& blob,
                  bool transposed) {
  at::Tensor values = to_tensor(blob);
  if (transposed && values.dim() != 2) {
    fail(ErrorCode::kConfig, "model.init_names: '{}' in model.init_from is no matrix to transpose: {}",
         blob.name, shape_text(values.sizes()));
  }
  if (transposed) values = values.t();
  if (values.sizes() != wanted.sizes()) {
    fail(ErrorCode::kConfig,
         "'{}' in model.init_from is {}{}, the model's '{}' {}; model.init_except leaves a tensor as it is",
         blob.name, shape_text(values.sizes()), transposed ? " when transposed" : "", ours,
         shape_text(wanted.sizes()));
  }
  if (values.scalar_type() != wanted.scalar_type() &&
      !(values.is_floating_point() && wanted.is_floating_point())) {
    fail(ErrorCode::kConfig, "'{}' in model.init_from holds {}, the model's '{}' {}", blob.name,
         c10::toString(values.scalar_type()), ours, c10::toString(wanted.scalar_type()));
  }
  return values;
}

[[noreturn]] void refuse_missing(const std::vector<std::pair<std::string, std::string>>& missing,
                                 const std::vector<TensorBlob>& source) {
  std::vector<std::string> theirs;
  for (const TensorBlob& blob : source) theirs.push_back(blob.name);
  std::vector<std::string> ours;
  for (const auto& [name, origin] : missing) ours.push_back(name);
  const auto& [name, origin] = missing.front();
  fail(ErrorCode::kConfig,
       "model.init_from has no '{}'{}, which the model's '{}' would be; in all it lacks {}. It has {}. "
       "model.init_names says what is named otherwise there, model.init_except what keeps its random start",
       origin, did_you_mean(origin, theirs), name, some_of(ours), some_of(theirs));
}

/// Inputs whose way to the model is not the source's: other transforms, other fitted numbers, or not there.
std::vector<std::string> different_inputs(const Json& theirs, const Json& ours) {
  std::map<std::string, Json> known;
  for (const Json& input : theirs.at("inputs"))
    known[input.at("field").get<std::string>()] = {input.at("transforms"), input.at("fitted")};
  std::vector<std::string> different;
  for (const Json& input : ours.at("inputs")) {
    const auto field = input.at("field").get<std::string>();
    const auto found = known.find(field);
    if (found == known.end() || found->second != Json{input.at("transforms"), input.at("fitted")})
      different.push_back(field);
    if (found != known.end()) known.erase(found);
  }
  for (const auto& [field, way] : known) different.push_back(field);
  return different;
}

WeightRules rules_of(const Config& config) {
  return {config.at("model", "init_names").get<std::vector<std::string>>(),
          config.at("model", "init_except").get<std::vector<std::string>>(),
          models().get(config.text_at("model", "name")).known_names};
}

/// For the run's records: docs/events.md.
Json record_of(const WeightSource& source, const WeightReport& report,
               const std::vector<std::string>& different) {
  return {{"from", source.where},  {"sha256", source.sha256}, {"taken", report.taken.size()},
          {"random", report.kept}, {"unused", report.unused}, {"inputs_differ", different}};
}

}  // namespace

WeightSource read_weights(FileSystem& files, const std::string& from, const LogSink& log) {
  const fs::path directory = from;
  if (files.exists(directory / "manifest.json") || files.exists(directory / "checkpoints"))
    return read_checkpoint(files, from, log);
  return read_files(files, from,
                    from.ends_with(".json") ? files_of_index(files, from) : std::vector<fs::path>{from});
}

WeightReport assign_weights(const NamedTensors& tensors, const std::vector<TensorBlob>& source,
                            const WeightRules& rules) {
  std::map<std::string, const TensorBlob*> by_name;
  for (const TensorBlob& blob : source) by_name[blob.name] = &blob;
  const std::vector<NameRule> names = parse_name_rules(kNamesKey, rules.names, rules.known);
  std::vector<bool> names_used(rules.names.size() + 1, false);
  names_used.back() = true;
  std::vector<bool> except_used(rules.except.size(), false);

  WeightReport report;
  std::set<std::string> used;
  std::vector<std::pair<std::string, std::string>> missing;
  std::vector<std::pair<at::Tensor, at::Tensor>> assignments;
  for (const auto& [name, tensor] : tensors) {
    bool kept = false;
    for (std::size_t i = 0; i < rules.except.size(); ++i) {
      if (!NamePattern(rules.except[i]).matches(name)) continue;
      except_used[i] = true;
      kept = true;
    }
    const ForeignName origin = foreign_name(name, names, rules.names.size());
    names_used[origin.given] = true;
    const auto there = std::ranges::find_if(origin.names, [&](const auto& n) { return by_name.contains(n); });
    if (kept) {
      report.kept.push_back(name);
    } else if (there == origin.names.end()) {
      missing.emplace_back(name, origin.names.front());
    } else {
      assignments.emplace_back(tensor, fitted(name, tensor, *by_name.at(*there), origin.transposed));
      report.taken.push_back(name);
      used.insert(*there);
    }
  }
  std::vector<std::string> ours;
  for (const auto& [name, tensor] : tensors) ours.push_back(name);
  refuse_unused_rules(kNamesKey, rules.names, names_used, ours);
  refuse_unused_rules("model.init_except", rules.except, except_used, ours);
  if (!missing.empty()) refuse_missing(missing, source);
  const torch::NoGradGuard no_grad;
  for (auto& [tensor, values] : assignments) tensor.copy_(values);
  for (const TensorBlob& blob : source) {
    if (!used.contains(blob.name)) report.unused.push_back(blob.name);
  }
  return report;
}

void check_weight_source(FileSystem& files, const Config& config) {
  const std::string from = config.text_at("model", "init_from");
  if (from.empty()) return;
  if (!files.exists(from)) throw Error(ErrorCode::kConfig, "model.init_from: there is no such file", from);
  const WeightRules rules = rules_of(config);
  static_cast<void>(parse_name_rules(kNamesKey, rules.names, rules.known));
}

Json start_from_weights(FileSystem& files, const Config& config, const Json& pipeline,
                        torch::nn::Module& module, const LogSink& log) {
  const std::string from = config.text_at("model", "init_from");
  if (from.empty()) return nullptr;
  const WeightSource source = read_weights(files, from, log);
  const WeightRules rules = rules_of(config);
  const NamedTensors tensors = module_tensors(module);
  const WeightReport report = assign_weights(tensors, source.tensors, rules);
  log(LogLevel::kInfo,
      fmt::format("start weights: {} of {} tensors from {} (SHA-256 {}…)", report.taken.size(),
                  tensors.size(), source.where, source.sha256.substr(0, 16)));
  if (!report.kept.empty())
    log(LogLevel::kInfo, "start weights: random, as model.init_except says: " + some_of(report.kept));
  if (!report.unused.empty())
    log(LogLevel::kWarning, "start weights: of model.init_from not used: " + some_of(report.unused));
  std::vector<std::string> different;
  if (!source.pipeline.is_null()) different = different_inputs(source.pipeline, pipeline);
  if (!different.empty()) {
    log(LogLevel::kWarning,
        fmt::format(
            "start weights: they were trained on inputs that were prepared otherwise (fitted to other "
            "data, or with other transforms): {}",
            some_of(different)));
  }
  return record_of(source, report, different);
}

}  // namespace muster
