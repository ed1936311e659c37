#include "trainer/loop/out_of_memory.h"

#include <c10/util/Exception.h>

#include <string_view>

#include "core/text.h"

namespace muster {

std::optional<Error> as_out_of_memory(const std::exception& error) {
  const auto* const torch_error = dynamic_cast<const c10::Error*>(&error);
  if (torch_error == nullptr) return std::nullopt;
  const std::string text = torch_error->what_without_backtrace();
  const bool of_cpu = text.find("DefaultCPUAllocator: ") != std::string::npos;
  if (!of_cpu && dynamic_cast<const c10::OutOfMemoryError*>(torch_error) == nullptr) return std::nullopt;
  return Error(ErrorCode::kConfig,
               fmt::format("{}: lower batch.size or train.micro_batch, take train.precision bfloat16 or "
                           "train.recompute, or more ranks",
                           one_line(text)));
}

}  // namespace muster
