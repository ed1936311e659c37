#pragma once
// The Error that a call throws.

#include <gtest/gtest.h>

#include "core/error.h"

namespace muster::testing {

/// The Error that `body` throws; fails the test if it throws none.
template <typename Body>
Error error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::kBug, "nothing was thrown");
}

}  // namespace muster::testing
