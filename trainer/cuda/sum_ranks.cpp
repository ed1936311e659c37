#include "trainer/cuda/sum_ranks.h"

#include <ATen/ATen.h>

#include "trainer/cuda/kernels.h"

namespace muster {

void sum_ranks(const at::Tensor& terms, const at::Tensor& sum) {
  constexpr unsigned kThreads = 256;
  const std::int64_t count = sum.numel();
  if (count == 0) return;
  const Grid grid{blocks_for((count + kThreads - 1) / kThreads, 1 << 16), kThreads};
  kernels().launch({"sum_ranks", {}}, "sum_ranks", grid, terms.const_data_ptr(), sum.mutable_data_ptr(),
                   static_cast<int>(terms.size(0)), count);
}

}  // namespace muster
