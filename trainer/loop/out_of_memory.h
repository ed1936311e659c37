#pragma once
// What LibTorch's allocators say when there is no more, as an error whose reader can do something.

#include <exception>
#include <optional>

#include "core/error.h"

namespace muster {

/// Error{kConfig} with how much was asked for, what there is, and what to lower, where `error` is one of an
/// allocator of LibTorch.
std::optional<Error> as_out_of_memory(const std::exception& error);

/// What `body` returns; where it throws such an error, that Error instead.
template <typename Body>
auto within_memory(Body&& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    if (const auto memory = as_out_of_memory(error)) throw Error(*memory);
    throw;
  }
}

}  // namespace muster
