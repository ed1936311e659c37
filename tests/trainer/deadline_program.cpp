// Rank 0 never joins the others' collective: the deadline must end all ranks. Run by deadline_test.py under
// mpirun.
#include <mpi.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>

#include "trainer/comm/mpi_communicator.h"

namespace {

void print_line(const std::string& line, bool mine) {
  if (!mine) return;
  std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
}

}  // namespace

int main(int argc, char** argv) {
  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const auto comm = muster::make_mpi_communicator(
      {.deadline = std::chrono::seconds(1), .deadline_key = "", .on_failure = print_line});
  comm->barrier("all here");
  if (mode == "frozen other") {
    if (comm->rank() == 1) {
      std::raise(SIGSTOP);
      std::this_thread::sleep_for(std::chrono::seconds(60));
    }
    comm->barrier("verdict");
  } else if (comm->rank() == 0) {
    if (mode == "frozen") std::raise(SIGSTOP);
    std::this_thread::sleep_for(std::chrono::seconds(60));
  } else if (mode == "started") {
    std::array<float, 4> values{};
    const auto pending = comm->start_all_reduce_sum("gradients bucket 3", values);
    std::this_thread::sleep_for(
        std::chrono::seconds(60));  // nobody waits yet: the deadline runs all the same
  } else {
    comm->barrier("verdict");
  }
  return 0;
}
