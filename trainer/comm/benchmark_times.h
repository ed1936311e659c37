#pragma once
// Measured times, over repeats and over ranks.

#include <vector>

#include "trainer/comm/communicator.h"

namespace muster {

/// The middle one; the upper of two. `values` is not empty.
double median(std::vector<double> values);
/// Collective. The greatest of the ranks' values.
double slowest(Communicator& comm, double mine);

}  // namespace muster
