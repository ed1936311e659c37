#include "trainer/gradients/precision.h"

#include <torch/torch.h>

#include "models/autocast.h"

namespace muster {
namespace {

/// Autocast as it shall be in a forward pass. Its memory of casts is off: it is the process's, and ranks can
/// be threads.
AutocastState autocast_to(at::ScalarType type, at::DeviceType device) {
  AutocastState state = autocast_state();
  (device == at::kCUDA ? state.cuda : state.cpu) = {true, static_cast<int>(type)};
  state.keeps_casts = false;
  return state;
}

class AutocastModel : public Model {
 public:
  AutocastModel(std::unique_ptr<Model> model, at::ScalarType type, at::DeviceType device)
      : model_(std::move(model)), type_(type), device_(device) {}

  torch::nn::Module& module() override { return model_->module(); }
  at::Tensor forward(const ModelBatch& batch) override {
    const AutocastScope scope(autocast_to(type_, device_));
    const at::Tensor scores = model_->forward(batch);
    // Of tokens they are many, and the loss takes them as they are.
    return model_->predicts_tokens() ? scores : scores.to(at::kFloat);
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
  ensure(precision == "bfloat16" || precision == "float16", "a precision of '{}'", precision);
  const at::ScalarType type = precision == "bfloat16" ? at::kBFloat16 : at::kHalf;
  return std::make_unique<AutocastModel>(std::move(model), type, as_torch(device).type());
}

}  // namespace muster
