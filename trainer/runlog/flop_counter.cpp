#include "trainer/runlog/flop_counter.h"

#include <ATen/record_function.h>
#include <torch/torch.h>

#include <string_view>

#include "core/error.h"

namespace muster {
namespace {

using Inputs = c10::ArrayRef<const c10::IValue>;

double size(const c10::IValue& tensor, std::int64_t dimension) {
  return static_cast<double>(tensor.toTensor().size(dimension));
}

/// [n, k] by [k, m].
double product(const c10::IValue& left, const c10::IValue& right) {
  return 2 * size(left, 0) * size(left, 1) * size(right, 1);
}

/// As many of them as the first dimension says.
double products(const c10::IValue& left, const c10::IValue& right) {
  return 2 * size(left, 0) * size(left, 1) * size(left, 2) * size(right, 2);
}

/// aten::convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups).
double convolution(Inputs inputs) {
  const at::Tensor& input = inputs[0].toTensor();
  const at::Tensor& weight =
      inputs[1].toTensor();  // [out, in / groups, kernel…]; transposed: [in, out / groups, kernel…]
  const auto stride = inputs[3].toIntVector(), padding = inputs[4].toIntVector(),
             dilation = inputs[5].toIntVector();
  const bool transposed = inputs[6].toBool();
  auto places = static_cast<double>(input.size(0));
  for (std::int64_t i = 2; i < input.dim(); ++i) {
    const auto at = [i](const std::vector<std::int64_t>& values) {
      return values[values.size() == 1 ? 0 : static_cast<std::size_t>(i - 2)];
    };
    const std::int64_t covered = at(dilation) * (weight.size(i) - 1) + 1;
    const std::int64_t out = (input.size(i) + 2 * at(padding) - covered) / at(stride) + 1;
    places *= static_cast<double>(transposed ? input.size(i) : out);
  }
  return 2 * places * static_cast<double>(weight.numel());
}

/// (query [rows, heads, tokens, width], key [rows, heads, others, width], value [rows, heads, others, value
/// width]).
double attention(Inputs inputs) {
  const double pairs = size(inputs[0], 0) * size(inputs[0], 1) * size(inputs[0], 2) * size(inputs[1], 2);
  return 2 * pairs * (size(inputs[0], 3) + size(inputs[2], 3));
}

double operations(std::string_view name, Inputs inputs) {
  if (name == "aten::mm") return product(inputs[0], inputs[1]);
  if (name == "aten::addmm") return product(inputs[1], inputs[2]);
  if (name == "aten::bmm") return products(inputs[0], inputs[1]);
  if (name == "aten::baddbmm") return products(inputs[1], inputs[2]);
  if (name == "aten::convolution") return convolution(inputs);
  // What carries attention out; where that is made of products, they are counted.
  if (name.starts_with("aten::_scaled_dot_product_") && name.find("_math") == std::string_view::npos &&
      name.find("backward") == std::string_view::npos)
    return attention(inputs);
  return 0;
}

struct Count {
  double operations = 0;
  bool within = false;  ///< an operator that was counted
};

/// LibTorch calls a plain function, which cannot hold a counter.
Count*& current() {
  thread_local Count* count = nullptr;
  return count;
}

/// While an operator that was counted runs: autocast calls the same once more, in fewer bits.
class Counted : public at::ObserverContext {
 public:
  explicit Counted(Count& count) : count_(&count) { count.within = true; }
  ~Counted() override {
    if (Count* const running = current(); running != nullptr && running == count_) running->within = false;
  }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  Count* count_;
};

std::unique_ptr<at::ObserverContext> note(const at::RecordFunction& function) {
  Count* const count = current();
  if (count == nullptr || count->within || function.inputs().empty()) return nullptr;
  const double made = operations(function.name(), function.inputs());
  if (made == 0) return nullptr;
  count->operations += made;
  return std::make_unique<Counted>(*count);
}

void end(const at::RecordFunction&, at::ObserverContext*) {}

}  // namespace

struct FlopCounter::State {
  Count count;
  at::CallbackHandle handle = at::INVALID_CALLBACK_HANDLE;
};

FlopCounter::FlopCounter() : state_(std::make_unique<State>()) {
  ensure(current() == nullptr, "two counters of operations in one thread");
  current() = &state_->count;
  state_->handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(&note, &end).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
}

FlopCounter::~FlopCounter() {
  at::removeCallback(state_->handle);
  current() = nullptr;
}

double FlopCounter::count() const { return state_->count.operations; }

}  // namespace muster
