// A model of one's own, in one file: two towers over the features, one of which gates the other.
#include <muster/models/model.h>
#include <torch/torch.h>

namespace {

struct GatedNet : torch::nn::Module {
  GatedNet(std::int64_t inputs, std::int64_t width, std::int64_t outputs)
      : value(register_module("value", torch::nn::Linear(inputs, width))),
        gate(register_module("gate", torch::nn::Linear(inputs, width))),
        head(register_module("head", torch::nn::Linear(width, outputs))) {}
  torch::nn::Linear value;
  torch::nn::Linear gate;
  torch::nn::Linear head;
};

class GatedModel : public muster::Model {
 public:
  explicit GatedModel(const muster::ModelContext& context)
      : input_(context.only_input().name),
        outputs_(context.outputs),
        net_(static_cast<std::int64_t>(context.only_input().values_per_row()),
             context.options.at("width").get<std::int64_t>(), context.outputs),
        fail_at_step_(context.options.at("fail_at_step").get<std::int64_t>()) {}

  torch::nn::Module& module() override { return net_; }

  at::Tensor forward(const muster::ModelBatch& batch) override {
    if (batch.training() && static_cast<std::int64_t>(batch.step()) == fail_at_step_ &&
        batch.positions().front() > 0) {
      throw std::runtime_error("this model was asked to fail here");
    }
    const at::Tensor x = batch.get(input_).flatten(1);
    const at::Tensor scores = net_.head(torch::tanh(net_.value(x)) * torch::sigmoid(net_.gate(x)));
    return outputs_ == 1 ? scores.squeeze(1) : scores;
  }

 private:
  std::string input_;
  std::int64_t outputs_;
  GatedNet net_;
  std::int64_t fail_at_step_;
};

const bool kRegistered =
    muster::models().add("gated", {{{"width", muster::OptionType::kUnsigned, 64, "units of each tower", {}},
                                    {"fail_at_step",
                                     muster::OptionType::kInteger,
                                     -1,
                                     "throw in this step on ranks but the first (a test)",
                                     {}}},
                                   [](const muster::ModelContext& context) -> std::unique_ptr<muster::Model> {
                                     return std::make_unique<GatedModel>(context);
                                   },
                                   "two towers, one of which gates the other"});

}  // namespace
