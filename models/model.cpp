#include "models/model.h"

#include <torch/torch.h>

#include <mutex>

#include "core/random.h"

namespace muster {

namespace {

/// Runs `body` with torch's process-wide CPU generator at the start of a known sequence, then puts back its
/// state.
template <typename Body>
auto with_torch_seed(std::uint64_t seed, Body&& body) {
  // Torch makes start weights with one generator per process: models made on several threads take turns.
  static std::mutex turn;
  const std::lock_guard lock(turn);
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const at::Tensor before = [&] {
    const std::lock_guard generator_lock(generator.mutex());
    at::Tensor state = generator.get_state();
    generator.set_current_seed(seed);
    return state;
  }();
  const auto put_back = [&] {
    const std::lock_guard generator_lock(generator.mutex());
    generator.set_state(before);
  };
  try {
    auto made = body();
    put_back();
    return made;
  } catch (...) {
    put_back();
    throw;
  }
}

}  // namespace

at::Tensor Model::loss(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) {
  return loss_sums(scores, batch, settings);
}

at::Tensor Model::next_tokens(const ModelBatch&) const {
  fail(ErrorCode::kBug, "this model predicts no tokens");
}

std::unique_ptr<Model> make_model(const std::string& name, const ModelContext& context, std::uint64_t seed) {
  const ModelFactory& factory = models().get(name);
  const std::uint64_t key = random_key(seed, Purpose::kStartWeights, {});
  auto model = [&] {
    try {
      return with_torch_seed(key, [&] { return factory.make(context); });
    } catch (const c10::Error& error) {
      // Torch has no type of its own for this on CPUs.
      if (std::string_view(error.what()).find("allocate") == std::string_view::npos) throw;
      fail(ErrorCode::kConfig, "the model '{}' with {} does not fit in memory: make it smaller", name,
           context.options.dump());
    }
  }();
  ensure(model != nullptr, "the factory of model '{}' made none", name);
  return model;
}

}  // namespace muster
