// Trains on half of the ranks of a program that has its own MPI, then scores a row that is given as JSON.
//   mpirun -np 4 ./embedded DATASET RUNS '{"x0": 0.5, …}'
// The other ranks do what the program is otherwise about.
#include <mpi.h>

#include <muster/core/file_system.h>
#include <muster/trainer/checkpoint/checkpoint_path.h>
#include <muster/trainer/comm/agreement.h>
#include <muster/trainer/comm/mpi_communicator.h>
#include <muster/trainer/loop/trainer.h>
#include <muster/trainer/scoring/line_scorer.h>

#include <iostream>

namespace {

muster::Json settings(const std::string& dataset, const std::string& runs) {
  return {{"run", {{"name", "embedded"}, {"dir", runs}}},
          {"data", {{"dataset", dataset}}},
          {"model", {{"name", "mlp"}, {"hidden", {32, 16}}}},
          {"batch", {{"size", 64}, {"lanes", 8}}},
          {"train", {{"epochs", 3}, {"threads", 1}}}};
}

void train_and_score(MPI_Comm group, const std::string& dataset, const std::string& runs,
                     const std::string& row) {
  const auto comm = muster::make_mpi_communicator({}, &group);
  const auto files = muster::make_posix_file_system();
  const bool first = comm->rank() == 0;

  muster::TrainOptions options(
      muster::Config::of(settings(dataset, runs), muster::registered_model_options()));
  options.log = [first](muster::LogLevel, std::string_view line) {
    if (first) std::cout << "  muster: " << line << '\n';
  };
  // A failure that one rank alone knows of: the others wait for it in a collective.
  options.on_lone_failure = [group](const muster::Error& error) {
    std::cerr << error.what() << '\n';
    MPI_Abort(group, error.exit_code());
  };
  const muster::TrainResult result = muster::train(*comm, *files, options);
  if (first) std::cout << "trained: " << result.metrics.dump() << '\n';

  const auto checkpoint = muster::resolve_checkpoint(*files, result.directory, options.log);
  const muster::TrainedModel trained = muster::load_trained_model(*comm, *files, checkpoint);
  muster::Scorer scorer(*comm, trained, trained.contract);
  if (first) std::cout << "scored: " << muster::LineScorer(scorer, trained.contract).answer_json(row) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: mpirun -np RANKS embedded DATASET RUNS ROW\n";
    return 64;
  }
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm group = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank < (size + 1) / 2 ? 0 : 1, rank, &group);
  int code = 0;
  if (rank < (size + 1) / 2) {
    try {
      train_and_score(group, argv[1], argv[2], argv[3]);
    } catch (const muster::AgreedError& error) {  // known to all ranks of the group, which leave together
      if (error.mine()) std::cerr << error.what() << '\n';
      code = error.exit_code();
    } catch (const std::exception& error) {  // known to this rank alone
      std::cerr << error.what() << '\n';
      MPI_Abort(group, 70);
    }
  }
  MPI_Comm_free(&group);
  MPI_Finalize();
  return code;
}
