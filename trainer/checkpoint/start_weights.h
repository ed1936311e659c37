#pragma once
// Weights that a run starts from in place of random ones: a checkpoint's, or a file's that another program
// wrote. For users: docs/init-from.md.

#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/json.h"
#include "core/log.h"
#include "models/model.h"
#include "trainer/checkpoint/module_tensors.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/config/config.h"

namespace muster {

/// What `model.init_from` names, read.
struct WeightSource {
  std::string where;   ///< the file, or the checkpoint that a run directory stands for
  std::string sha256;  ///< of the file's bytes, of several files' one after the other, or of a manifest.json
  std::vector<TensorBlob> tensors;
  Json pipeline;  ///< that a checkpoint's weights were trained with; null of a file
};

/// `from`: a checkpoint or run directory (all hashes verified), a .safetensors file, or the .index.json of
/// several. Error{kStorage} for what cannot be read or is damaged, Error{kConfig} for another kind of file.
/// `log` is told which damaged checkpoints of a run are passed over.
WeightSource read_weights(FileSystem& files, const std::string& from, const LogSink& log);

/// `model.init_names` and `model.init_except`.
struct WeightRules {
  std::vector<std::string> names;   ///< "OURS = THEIRS", "OURS = THEIRS transposed", a name in `known`
  std::vector<std::string> except;  ///< patterns of our tensors that keep what they have
  std::vector<WeightNames> known;   ///< of the model
};

struct WeightReport {
  std::vector<std::string> taken;   ///< of the model
  std::vector<std::string> kept;    ///< of the model: as random as before
  std::vector<std::string> unused;  ///< of the source
};

/// Overwrites the model's tensors with the source's. Numbers of other precision are converted; shapes must
/// fit. Error{kConfig}, and nothing is changed, for tensors that the source lacks, other shapes, and rules
/// that cannot be read or fit no tensor.
WeightReport assign_weights(const NamedTensors& tensors, const std::vector<TensorBlob>& source,
                            const WeightRules& rules);

/// What can be known before there is a model: Error{kConfig} for a file that is not there, or a rule that
/// cannot be read.
void check_weight_source(FileSystem& files, const Config& config);

/// Reads and assigns what the config wants; `pipeline` is this run's. Says in the log what was taken and what
/// was not, and which inputs the source's weights saw in another way. Returns that for the run's records;
/// null where the config wants nothing.
Json start_from_weights(FileSystem& files, const Config& config, const Json& pipeline,
                        torch::nn::Module& module, const LogSink& log);

}  // namespace muster
