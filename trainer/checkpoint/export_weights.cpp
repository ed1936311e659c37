#include "trainer/checkpoint/export_weights.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/error.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/checkpoint/weight_names.h"

namespace muster {
namespace {

constexpr const char* kNamesKey = "--names";

TensorBlob transposed(const TensorBlob& tensor) {
  if (tensor.shape.size() != 2)
    fail(ErrorCode::kConfig, "{}: '{}' is no matrix to transpose: it has {} dimensions", kNamesKey,
         tensor.name, tensor.shape.size());
  const auto rows = static_cast<std::size_t>(tensor.shape[0]);
  const auto columns = static_cast<std::size_t>(tensor.shape[1]);
  TensorBlob result{tensor.name, tensor.dtype, {tensor.shape[1], tensor.shape[0]}, {}};
  result.data.resize(tensor.data.size());
  if (result.data.empty()) return result;
  const std::size_t bytes = tensor.data.size() / (rows * columns);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      std::memcpy(result.data.data() + (column * rows + row) * bytes,
                  tensor.data.data() + (row * columns + column) * bytes, bytes);
    }
  }
  return result;
}

/// What the checkpoint's model is known by elsewhere; nothing of a model that another program has.
std::vector<WeightNames> known_names(const Json& model) {
  const std::vector<std::string> here = models().names();
  const auto name = model.at("name").get<std::string>();
  if (std::ranges::find(here, name) == here.end()) return {};
  return models().get(name).known_names;
}

std::vector<TensorBlob> renamed(std::vector<TensorBlob> tensors, const std::vector<std::string>& texts,
                                std::span<const WeightNames> known) {
  const std::vector<NameRule> rules = parse_name_rules(kNamesKey, texts, known);
  std::vector<bool> used(texts.size() + 1, false);
  std::vector<std::string> ours;
  std::set<std::string> theirs;
  for (TensorBlob& tensor : tensors) {
    const ForeignName foreign = foreign_name(tensor.name, rules, texts.size());
    const std::string& name = foreign.names.front();
    used[foreign.given] = true;
    ours.push_back(tensor.name);
    if (!theirs.insert(name).second)
      fail(ErrorCode::kConfig, "{}: two tensors would be called '{}'", kNamesKey, name);
    if (foreign.transposed) tensor = transposed(tensor);
    tensor.name = name;
  }
  refuse_unused_rules(kNamesKey, texts, used, ours);
  return tensors;
}

void write(FileSystem& files, const std::filesystem::path& path, const std::vector<TensorBlob>& tensors,
           const std::map<std::string, std::string>& metadata) {
  const auto file = files.create(path);
  write_safetensors(*file, tensors, metadata);
  file->sync();
}

}  // namespace

ExportReport export_weights(FileSystem& files, const std::filesystem::path& checkpoint,
                            const std::filesystem::path& out, const std::vector<std::string>& names) {
  if (files.exists(out)) throw Error(ErrorCode::kUsage, "exists already; name another file", out.string());
  CheckpointContent content = load_checkpoint(files, checkpoint).value();
  const Json& model = content.state.at("config").at("model");
  const std::vector<TensorBlob> tensors = renamed(std::move(content.model), names, known_names(model));
  const std::map<std::string, std::string> metadata{
      {"format", "pt"},  // what readers expect of tensors laid out as PyTorch's
      {"muster_checkpoint", checkpoint.filename().string()},
      {"muster_step", std::to_string(content.step)},
      {"muster_fingerprint", content.state.at("fingerprint").get<std::string>()},
      {"muster_model", model.dump()}};
  std::filesystem::path partial = out;
  partial += ".partial";
  try {
    write(files, partial, tensors, metadata);
    files.rename(partial, out);
  } catch (const Error&) {
    static_cast<void>(attempt([&] { return files.remove_all(partial), 0; }));
    throw;
  }
  files.sync_directory(std::filesystem::absolute(out).parent_path());
  return {content.step, tensors.size(), files.size(out)};
}

}  // namespace muster
