#include "trainer/precision.h"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

namespace muster {
namespace {

/// Autocast on this thread while it lives. Its memory of casts is off: it is the process's, and ranks can be
/// threads.
class AutocastScope {
 public:
  AutocastScope(at::DeviceType device, at::ScalarType type)
      : device_(device),
        was_enabled_(at::autocast::is_autocast_enabled(device)),
        type_before_(at::autocast::get_autocast_dtype(device)),
        had_cache_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, type);
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~AutocastScope() {
    at::autocast::set_autocast_cache_enabled(had_cache_);
    at::autocast::set_autocast_dtype(device_, type_before_);
    at::autocast::set_autocast_enabled(device_, was_enabled_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType device_;
  bool was_enabled_;
  at::ScalarType type_before_;
  bool had_cache_;
};

class AutocastModel : public Model {
 public:
  AutocastModel(std::unique_ptr<Model> model, at::ScalarType type, at::DeviceType device)
      : model_(std::move(model)), type_(type), device_(device) {}

  torch::nn::Module& module() override { return model_->module(); }
  at::Tensor forward(const ModelBatch& batch) override {
    const AutocastScope scope(device_, type_);
    return model_->forward(batch).to(at::kFloat);
  }
  at::Tensor loss(const at::Tensor& scores, const ModelBatch& batch, const LossSettings& settings) override {
    return model_->loss(scores, batch, settings);
  }
  bool predicts_tokens() const override { return model_->predicts_tokens(); }
  at::Tensor next_tokens(const ModelBatch& batch) const override { return model_->next_tokens(batch); }

 private:
  std::unique_ptr<Model> model_;
  at::ScalarType type_;
  at::DeviceType device_;
};

}  // namespace

std::unique_ptr<Model> with_precision(std::unique_ptr<Model> model, const std::string& precision,
                                      const ComputeDevice& device) {
  if (precision == "float32") return model;
  ensure(precision == "bfloat16", "a precision of '{}'", precision);
  return std::make_unique<AutocastModel>(std::move(model), at::kBFloat16, as_torch(device).type());
}

}  // namespace muster
