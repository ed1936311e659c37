#include "trainer/comm/gpu_module.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>

#include "core/error.h"
#include "core/text.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libmuster_cuda.so";

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

fs::path find_library(const fs::path& program) {
  if (const char* given = std::getenv("MUSTER_CUDA_MODULE"); given != nullptr && *given != '\0') return given;
  const fs::path folder = program.parent_path();
  for (const fs::path& path : {folder / kLibrary, folder.parent_path() / "lib" / kLibrary}) {
    if (is_there(path)) return path;
  }
  return {};
}

}  // namespace

GpuModule load_gpu_module(const fs::path& program) {
  GpuModule module;
  module.has_driver = is_there("/dev/nvidiactl") || is_there("/proc/driver/nvidia/version");
  const auto none = [&](std::string why) {
    module.why_not = std::move(why);
    return std::move(module);
  };
  if (!module.has_driver && std::getenv("MUSTER_CUDA_MODULE") == nullptr)
    return none("this machine has no NVIDIA driver");
  const fs::path library = find_library(program);
  if (library.empty())
    return none(
        fmt::format("there is no {} beside the program: build it with -DMUSTER_WITH_CUDA=ON", kLibrary));
  // LibTorch's CUDA part registers itself with its CPU part: its symbols must be everybody's.
  void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    return none(fmt::format("{} cannot be loaded: {}", library.string(), first_line(why ? why : "unknown")));
  }
  const auto version = reinterpret_cast<const char* (*)()>(::dlsym(handle, kGpuModuleVersion));
  const auto make = reinterpret_cast<Gpus* (*)()>(::dlsym(handle, kGpuModuleMake));
  if (version == nullptr || make == nullptr)
    return none(fmt::format("{} is not Muster's CUDA module", library.string()));
  const std::string ours = MUSTER_VERSION " with LibTorch " MUSTER_TORCH_VERSION;
  if (ours != version())
    return none(fmt::format("{} belongs to Muster {}, this is {}", library.string(), version(), ours));
  module.gpus.reset(make());
  if (module.gpus->count() > 0) return module;
  module.gpus.reset();
  return none("CUDA finds no GPU (see nvidia-smi and CUDA_VISIBLE_DEVICES)");
}

}  // namespace muster
