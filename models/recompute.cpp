#include "models/recompute.h"

#include <torch/torch.h>

#include <utility>

#include "core/error.h"
#include "models/autocast.h"

namespace muster {
namespace {

using Body = std::function<at::Tensor(const at::Tensor&)>;

/// What is needed to compute once more.
struct Recipe : torch::CustomClassHolder {
  Recipe(Body the_body, const AutocastState& the_autocast)
      : body(std::move(the_body)), autocast(the_autocast) {}
  Body body;
  AutocastState autocast;
};

constexpr const char* kRecipe = "recipe";

// The gradients of the weights go back through the outer graph, as if there were no inner one: hooks on a
// weight see one gradient, and a weight that is used elsewhere too is summed as always.
class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  /// LibTorch has turned gradients off.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            at::TensorList weights, const c10::intrusive_ptr<Recipe>& recipe) {
    torch::autograd::variable_list kept{x};
    kept.insert(kept.end(), weights.begin(), weights.end());
    context->save_for_backward(kept);  // which notices writes to them until then
    context->saved_data[kRecipe] = c10::IValue::make_capsule(recipe);
    return recipe->body(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    ensure(!at::GradMode::is_enabled(), "what is computed again has no second derivatives");
    const torch::autograd::variable_list kept = context->get_saved_variables();
    const auto recipe =
        c10::static_intrusive_pointer_cast<Recipe>(context->saved_data.at(kRecipe).toCapsule());
    const at::Tensor x = kept.front().detach().set_requires_grad(kept.front().requires_grad());
    torch::autograd::variable_list wanted;
    if (x.requires_grad()) wanted.push_back(x);
    for (std::size_t i = 1; i < kept.size(); ++i) {
      if (kept[i].requires_grad()) wanted.push_back(kept[i]);
    }
    at::Tensor y;
    {
      const torch::AutoGradMode with_gradients(true);
      const AutocastScope scope(recipe->autocast);
      y = recipe->body(x);
    }
    const auto made = torch::autograd::grad({y}, wanted, gradients, /*retain_graph=*/false,
                                            /*create_graph=*/false, /*allow_unused=*/true);
    torch::autograd::variable_list all(kept.size() + 1);  // the recipe has none
    std::size_t next = 0;
    all.front() = x.requires_grad() ? made[next++] : at::Tensor();
    for (std::size_t i = 1; i < kept.size(); ++i) {
      if (kept[i].requires_grad()) all[i] = made[next++];
    }
    return all;
  }
};

}  // namespace

at::Tensor recomputed(const at::Tensor& x, const std::vector<at::Tensor>& weights, Body body) {
  if (!at::GradMode::is_enabled()) return body(x);
  return Recomputed::apply(x, at::TensorList(weights),
                           c10::make_intrusive<Recipe>(std::move(body), autocast_state()));
}

}  // namespace muster
