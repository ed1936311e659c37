#pragma once
// --device of commands that compute.

#include <CLI/CLI.hpp>
#include <string>

#include "trainer/comm/gpu_module.h"

namespace muster {

/// auto, cpu or cuda. `more`: what the help says besides.
void add_device_option(CLI::App& command, std::string& device, const std::string& more);

/// The machine's GPUs, unless --device is cpu. Before anything asks LibTorch about CUDA.
GpuModule gpus_for(const std::string& device);

}  // namespace muster
