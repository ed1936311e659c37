#pragma once
// What a model is to the trainer. A new model is one new file (a user's own too) that ends in
//   const bool kRegistered = muster::models().add("my-model", {options, make, "one line of help"});

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/option.h"
#include "core/registry.h"
#include "data_loader/contract/batch.h"
#include "models/loss.h"
#include "models/model_batch.h"

namespace torch::nn {
class Module;
}

namespace muster {

/// A model trained by Muster. Used by one thread. What it throws ends the run on all ranks (exit code 70, or
/// the Error's).
class Model {
 public:
  virtual ~Model() = default;
  /// Owns all parameters and buffers; their names are the checkpoint's.
  virtual torch::nn::Module& module() = 0;
  /// Scores, float32: [rows, outputs], or [rows] when outputs is 1 (logits for binary and cross-entropy
  /// losses). With several targets outputs is their number. Of a label that is an array it is the number of
  /// its values, and scores may have its shape: [rows, height, width], …. Of a model of tokens they may be of
  /// the precision that it computes in.
  virtual at::Tensor forward(const ModelBatch& batch) = 0;
  /// Two float64 values: the sum of weighted losses over the rows, and the sum of weights. The first carries
  /// gradients. Override for a loss of your own; the default is the configured one.
  virtual at::Tensor loss(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings);
  /// Whether this is a model of tokens, for loss.kind next_token: scores are then [rows, tokens, vocabulary].
  virtual bool predicts_tokens() const { return false; }
  /// The ids that each score is of: int64 [rows, tokens], by reference to the batch. Only where
  /// predicts_tokens().
  virtual at::Tensor next_tokens(const ModelBatch& batch) const;
};

/// What a factory knows when it makes a model.
struct ModelContext {
  Json options;                           ///< the config's `model` section, checked and with defaults
  std::vector<TensorSpec> tensors;        ///< of a batch, label included
  std::int64_t outputs = 1;               ///< classes for cross-entropy, else the number of values to predict
  std::vector<std::int64_t> label_shape;  ///< of a label that is an array, without rows; else empty
  bool recompute = false;                 ///< few activations are kept: only for models that can
  /// Shape without rows of an input tensor; Error{kConfig} names the tensors there are.
  const TensorSpec& tensor(std::string_view name) const;
  /// All tensors but the label. Valid while this context is.
  std::vector<const TensorSpec*> inputs() const;
  /// The only input that is no label; Error{kConfig} if there are several.
  const TensorSpec& only_input() const;
};

/// What a model's tensors are called in another program, as rules of `model.init_names` say it.
struct WeightNames {
  std::string name;                          ///< that stands for these rules
  std::vector<std::string> rules;            ///< "OURS = THEIRS", "OURS = THEIRS transposed"
  std::vector<std::string> prefixes = {""};  ///< of theirs: the first is written, any of them read
};

struct ModelFactory {
  std::vector<Option> options;  ///< keys of the config's `model` section beside `name`
  std::function<std::unique_ptr<Model>(const ModelContext&)> make;
  std::string help;
  // The initializer spares factories without names a warning.
  // NOLINTNEXTLINE(readability-redundant-member-init)
  std::vector<WeightNames> known_names = {};
  bool recomputes = false;  ///< whether it can keep few activations (models/recompute.h)
};

inline Registry<ModelFactory>& models() { return Registry<ModelFactory>::of_kind("model"); }

/// Makes a model with start weights that depend on (seed) only: seeds torch's own generator around the
/// factory's call.
std::unique_ptr<Model> make_model(const std::string& name, const ModelContext& context, std::uint64_t seed);

}  // namespace muster
