#include "launch/ranks.h"

#include <mpi.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "core/error.h"
#include "core/text.h"
#include "trainer/comm/local_communicator.h"

namespace muster {
namespace {

const char* first_set(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const char* value = std::getenv(name); value != nullptr) return value;
  }
  return nullptr;
}

/// Over TCP Open MPI 4 pulls large messages out of the sender (put), which lets one direction of a link wait
/// for the other: sums between two hosts took twice as long. What the environment or mpirun's --mca
/// says stays.
void choose_transport() {
  ::setenv("OMPI_MCA_btl_tcp_flags", "send,inplace,need-ack,need-csum,hetero-rdma", 0);
}

}  // namespace

bool launched_by_mpi() { return first_set({"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) != nullptr; }

int launched_rank() {
  const char* rank = first_set({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"});
  return rank != nullptr ? leading_integer(rank).value_or(0) : 0;
}

Ranks::Ranks(const MpiOptions& options) {
  if (!launched_by_mpi()) {
    comm_ = std::move(make_local_communicators(1).front());
    return;
  }
  choose_transport();
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS ||
      provided < MPI_THREAD_SERIALIZED) {
    fail(ErrorCode::kPeer, "MPI gives no thread support (level {}); MPI_THREAD_SERIALIZED is needed",
         provided);
  }
  mpi_ = true;
  comm_ = make_mpi_communicator(options);
  const char* started = first_set({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"});
  const int wanted = started != nullptr ? leading_integer(started).value_or(1) : 1;
  if (comm_->size() == 1 && wanted > 1) {  // as many runs would write over each other
    fail(ErrorCode::kConfig,
         "the launcher started {} ranks, MPI sees one: it belongs to another MPI library than this program's "
         "({}); use the "
         "mpirun of that one",
         wanted, mpi_version());
  }
}

Ranks::~Ranks() {
  comm_.reset();
  if (mpi_) MPI_Finalize();
}

int Ranks::on_this_host() const {
  const char* count = first_set({"OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"});
  return count != nullptr ? leading_integer(count).value_or(0) : 0;
}

std::string Ranks::mpi_version() const {
  if (!mpi_) return "";
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string_view all(text.data(), static_cast<std::size_t>(length));
  return std::string(all.substr(0, all.find_first_of(",\n")));
}

void Ranks::abort(int code) {
  if (mpi_) {
    // A peer that is gone can make MPI_Abort hang: leave anyway.
    std::thread([code] {
      ::sleep(2);
      ::_exit(code);
    }).detach();
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  ::_exit(code);
}

}  // namespace muster
