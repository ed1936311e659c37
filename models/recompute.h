#pragma once
// Activations that are not kept: what a part of a model computed is computed again in the backward pass
// (Chen, Xu, Zhang, Guestrin 2016). Memory for time.

#include <functional>
#include <vector>

namespace at {
class Tensor;
}

namespace muster {

/// body(x), of which only x is kept until the backward pass, where `body` runs once more under the autocast
/// that it ran under first. `weights`: all that `body` uses and that may want gradients; a frozen one may be
/// among them. Gradients are those of body(x) itself, to the bit where no tensor is used more than twice, and
/// each weight is given its own once, by the outer backward pass. Without gradients, body(x) and no more.
///
/// `body` makes the same of the same x (keyed dropout does), writes to nothing that outlives it (batch norm's
/// running statistics would move twice), and all that it refers to is there until the backward pass is over.
/// What it throws there leaves backward(). No second derivatives: Error{kBug}.
at::Tensor recomputed(const at::Tensor& x, const std::vector<at::Tensor>& weights,
                      std::function<at::Tensor(const at::Tensor&)> body);

}  // namespace muster
