#include "trainer/cuda/step_graph.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace muster {
namespace {

class RecordedGraph : public GpuGraph {
 public:
  explicit RecordedGraph(const std::function<void()>& work) {
    const c10::cuda::CUDAStream before = c10::cuda::getCurrentCUDAStream();
    C10_CUDA_CHECK(cudaStreamSynchronize(before));
    const c10::cuda::CUDAStreamGuard on(
        c10::cuda::getStreamFromPool());  // the default one cannot be recorded
    graph_.capture_begin();
    work();
    graph_.capture_end();
  }
  void replay() override { graph_.replay(); }

 private:
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<GpuGraph> record_graph(const std::function<void()>& work) {
  return std::make_unique<RecordedGraph>(work);
}

}  // namespace muster
