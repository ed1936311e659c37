#include "core/random_id.h"

#include <fmt/format.h>

#include <cstdint>
#include <random>

namespace muster {

std::string random_id() {
  std::random_device device;
  const auto word = [&] { return static_cast<std::uint32_t>(device()); };
  return fmt::format("{:08x}{:08x}", word(), word());
}

}  // namespace muster
