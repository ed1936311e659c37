#include "trainer/gpu_module.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>

#include "core/error.h"

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

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

GpuModule load_gpu_module(const fs::path& program) {
  const bool wanted = std::getenv("MUSTER_CUDA_MODULE") != nullptr;
  if (!wanted && !is_there("/dev/nvidiactl") && !is_there("/proc/driver/nvidia/version"))
    return {nullptr, "this machine has no NVIDIA driver"};
  const fs::path library = find_library(program);
  if (library.empty())
    return {nullptr,
            fmt::format("there is no {} beside the program: build it with -DMUSTER_WITH_CUDA=ON", kLibrary)};
  // LibTorch's CUDA part registers itself with its CPU part: its symbols must be everybody's.
  void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) {
    const char* const why = ::dlerror();
    return {nullptr,
            fmt::format("{} cannot be loaded: {}", library.string(), first_line(why ? why : "unknown"))};
  }
  const auto version = reinterpret_cast<const char* (*)()>(::dlsym(handle, kGpuModuleVersion));
  const auto make = reinterpret_cast<Gpus* (*)()>(::dlsym(handle, kGpuModuleMake));
  if (version == nullptr || make == nullptr)
    return {nullptr, fmt::format("{} is not Muster's CUDA module", library.string())};
  const std::string ours = MUSTER_VERSION " with LibTorch " MUSTER_TORCH_VERSION;
  if (ours != version())
    return {nullptr, fmt::format("{} belongs to Muster {}, this is {}", library.string(), version(), ours)};
  std::unique_ptr<Gpus> gpus(make());
  if (gpus->count() == 0) return {nullptr, "CUDA finds no GPU (see nvidia-smi and CUDA_VISIBLE_DEVICES)"};
  return {std::move(gpus), ""};
}

}  // namespace muster
