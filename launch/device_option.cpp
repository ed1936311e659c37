#include "launch/device_option.h"

#include "launch/programs.h"

namespace muster {

void add_device_option(CLI::App& command, std::string& device, const std::string& more) {
  command.add_option("--device", device, "auto, cpu or cuda, as train.device" + more)
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
}

GpuModule gpus_for(const std::string& device) {
  return device == "cpu" ? GpuModule{nullptr, "--device is cpu", false} : load_gpu_module(own_program());
}

}  // namespace muster
