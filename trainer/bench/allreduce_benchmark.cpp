#include "trainer/bench/allreduce_benchmark.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "trainer/bench/allreduce_ways.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/benchmark_times.h"
#include "trainer/comm/bfloat16.h"
#include "trainer/comm/device_choice.h"

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

MakeWays host_ways(Communicator& comm, SumPrecision precision) {
  return [&comm, precision](std::size_t count) {
    struct Memory {
      std::unique_ptr<SumBuffer> buffer;
      std::vector<float> plain, copy;
    };
    const auto memory =
        std::make_shared<Memory>(Memory{comm.make_sum_buffer("bench", count, precision),
                                        std::vector<float>(count), std::vector<float>(count)});
    AllreduceWays ways;
    ways.fill = [memory](float value) { std::ranges::fill(memory->buffer->values(), value); };
    ways.sum = [memory] { memory->buffer->start("bench")->wait(); };
    if (has_mpi())
      ways.by_library = [memory] {
        MPI_Allreduce(MPI_IN_PLACE, memory->plain.data(), static_cast<int>(memory->plain.size()), MPI_FLOAT,
                      MPI_SUM, MPI_COMM_WORLD);
      };
    ways.copy = [memory] { std::ranges::copy(memory->plain, memory->copy.begin()); };
    ways.last = [memory] { return memory->buffer->values().back(); };
    return ways;
  };
}

/// Of this rank: each another number, which bfloat16 has not.
float term(int rank) { return 1.0F + 0.37F * static_cast<float>(rank % 8); }

/// To the bit where ranks add in their order; NCCL has one of its own.
void check_sum(float found, int ranks, const std::string& how) {
  const bool in_order = how.starts_with(Communicator::kRankOrder);
  const bool narrow = in_order && how != Communicator::kRankOrder;
  const auto rounded = [narrow](float value) { return narrow ? from_bfloat16(to_bfloat16(value)) : value; };
  float expected = rounded(term(0));
  for (int rank = 1; rank < ranks; ++rank) expected += rounded(term(rank));
  expected = rounded(expected);
  ensure(in_order ? found == expected : std::abs(found / expected - 1) < 1e-5F,
         "a sum over {} ranks, {}, is {}, not {}", ranks, how, found, expected);
}

Json measure(Communicator& comm, std::size_t count, std::uint64_t rounds, const std::string& how,
             const MakeWays& make) {
  const AllreduceWays ways = make(count);
  const bool library = static_cast<bool>(ways.by_library);
  std::vector<double> sum_us, library_us, copy_us;
  const std::uint64_t warm_up = rounds / 10 + 2;
  for (std::uint64_t round = 0; round < warm_up + rounds; ++round) {
    ways.fill(term(comm.rank()));
    comm.barrier("bench");
    const double sum = microseconds(ways.sum);
    check_sum(ways.last(), comm.size(), how);
    comm.barrier("bench");
    const double raw = library ? microseconds(ways.by_library) : 0;
    comm.barrier("bench");
    const double copied = microseconds(ways.copy);
    if (round < warm_up) continue;
    sum_us.push_back(sum);
    library_us.push_back(raw);
    copy_us.push_back(copied);
  }
  const double ours = slowest(comm, median(sum_us));
  const double theirs = slowest(comm, median(library_us));
  return {{"bytes", count * sizeof(float)},
          {"sum_us", ours},
          {"library_us", library ? Json(theirs) : Json(nullptr)},
          {"copy_us", slowest(comm, median(copy_us))},
          {"ratio_to_library", library ? Json(ours / theirs) : Json(nullptr)}};
}

}  // namespace

Json benchmark_allreduce(Communicator& comm, const AllreduceBenchmarkOptions& options,
                         const GpuModule& gpus) {
  const SumPrecision precision = sum_precision(options.sum_precision);
  const ComputeDevice device = choose_device(comm, options.device, &gpus, /*share=*/true, [](const auto&) {});
  MakeWays make = host_ways(comm, precision);
  Json library = has_mpi() ? Json("MPI_Allreduce") : Json(nullptr);
  if (device.gpu) {
    together(comm, "bench", [&] {
      if (comm.size() == 1)
        fail(ErrorCode::kConfig,
             "GPUs sum where there are several ranks: mpirun -np 2 muster bench allreduce");
      return 0;
    });
    gpus.gpus->select(device.index);
    comm.sum_on_gpus(*gpus.gpus, device.index);
    make = gpu_allreduce_ways(comm, *gpus.gpus, device, precision);
    library = "ncclAllReduce";
  }
  const std::string how = comm.sums(precision);
  Json sizes = Json::array();
  for (const std::uint64_t bytes : options.bytes)
    sizes.push_back(
        measure(comm, std::max<std::uint64_t>(1, bytes / sizeof(float)), options.rounds, how, make));
  return {{"ranks", comm.size()},
          {"device", device.gpu ? gpus.gpus->info(device.index).name : "cpu"},
          {"sums", how},
          {"path", comm.sum_path()},
          {"library", std::move(library)},
          {"sizes", std::move(sizes)}};
}

}  // namespace muster
