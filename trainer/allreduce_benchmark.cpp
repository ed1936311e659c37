#include "trainer/allreduce_benchmark.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "core/error.h"
#include "trainer/benchmark_times.h"

namespace muster {
namespace {

bool has_mpi() {
  int initialized = 0;
  MPI_Initialized(&initialized);
  return initialized != 0;
}

double microseconds(const std::function<void()>& body) {
  const auto began = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count();
}

Json measure(Communicator& comm, std::size_t count, const AllreduceBenchmarkOptions& options) {
  const auto buffer = comm.make_sum_buffer("bench", count, sum_precision(options.sum_precision));
  std::vector<float> plain(count);
  std::vector<float> copy(count);
  const bool mpi = has_mpi();
  std::vector<double> sum_us, mpi_us, copy_us;
  const std::uint64_t warm_up = options.rounds / 10 + 2;
  for (std::uint64_t round = 0; round < warm_up + options.rounds; ++round) {
    std::ranges::fill(buffer->values(), 1.0F);
    comm.barrier("bench");
    const double sum = microseconds([&] { buffer->start("bench")->wait(); });
    ensure(buffer->values()[count - 1] == static_cast<float>(comm.size()), "a sum over {} ranks is {}",
           comm.size(), buffer->values()[count - 1]);
    comm.barrier("bench");
    double raw = 0;
    if (mpi) {
      raw = microseconds([&] {
        MPI_Allreduce(MPI_IN_PLACE, plain.data(), static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                      MPI_COMM_WORLD);
      });
    }
    comm.barrier("bench");
    const double copied = microseconds([&] { std::ranges::copy(plain, copy.begin()); });
    if (round < warm_up) continue;
    sum_us.push_back(sum);
    mpi_us.push_back(raw);
    copy_us.push_back(copied);
  }
  const double ours = slowest(comm, median(sum_us));
  const double theirs = slowest(comm, median(mpi_us));
  return {{"bytes", count * sizeof(float)},
          {"sum_us", ours},
          {"mpi_us", mpi ? Json(theirs) : Json(nullptr)},
          {"copy_us", slowest(comm, median(copy_us))},
          {"ratio_to_mpi", mpi ? Json(ours / theirs) : Json(nullptr)}};
}

}  // namespace

Json benchmark_allreduce(Communicator& comm, const AllreduceBenchmarkOptions& options) {
  Json sizes = Json::array();
  for (const std::uint64_t bytes : options.bytes)
    sizes.push_back(measure(comm, std::max<std::uint64_t>(1, bytes / sizeof(float)), options));
  return {{"ranks", comm.size()},
          {"sums", comm.sums(sum_precision(options.sum_precision))},
          {"path", comm.sum_path()},
          {"sizes", std::move(sizes)}};
}

}  // namespace muster
