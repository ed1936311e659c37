#include "trainer/comm/benchmark_times.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace muster {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double slowest(Communicator& comm, double mine) {
  double most = mine;
  for (const auto& bytes : comm.all_gather("bench", std::as_bytes(std::span(&mine, 1)))) {
    double theirs = 0;
    std::memcpy(&theirs, bytes.data(), sizeof theirs);
    most = std::max(most, theirs);
  }
  return most;
}

}  // namespace muster
