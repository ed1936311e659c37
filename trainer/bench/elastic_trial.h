#pragma once
// What `muster selftest elastic` tries: runs that are killed, stopped and resumed on other numbers of ranks,
// against the order that the rows must have.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/file_system.h"
#include "core/hash.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/order/sample_order.h"

namespace muster {

/// One start of a run, and how it ends.
struct ElasticStart {
  enum class End {
    kFinish,
    kStop,         ///< asked to, after step `at` of the run
    kKillAtStep,   ///< after step `at` of the run
    kKillAtChange  ///< before the change of a file with number `at` of this start
  };
  int ranks = 1;
  End end = End::kFinish;
  std::uint64_t at = 0;
};

/// A data set, an order, and starts of which the last goes to the end. Everything follows from (seed,
/// number).
struct ElasticSchedule {
  std::uint64_t number = 0;
  std::uint64_t data_set = 0;  ///< of elastic_data_set
  bool evaluates = false;
  std::uint64_t epochs = 1;
  std::uint64_t checkpoint_every = 1;  ///< steps
  OrderSettings order;
  std::vector<ElasticStart> starts;

  static ElasticSchedule make(std::uint64_t seed, std::uint64_t number, int most_ranks);
  /// "2 ranks killed after step 7, 5 ranks to the end".
  std::string describe() const;
};

/// The data set with this number, from 0 to kElasticDataSets - 1: generated and validated below `scratch`
/// unless it is there.
constexpr std::uint64_t kElasticDataSets = 8;
std::filesystem::path elastic_data_set(const std::filesystem::path& scratch, std::uint64_t number);

/// The order of a training as its definition has it, without any stream.
struct ExpectedOrder {
  std::vector<Digest> steps;  ///< of all epochs
  std::uint64_t steps_per_epoch = 0;
  std::uint64_t rows = 0;           ///< of an epoch
  Digest running;                   ///< after the last step
  std::vector<std::string> broken;  ///< a row twice or missing in an epoch
};
ExpectedOrder expected_order(const Dataset& dataset, const OrderSettings& order, std::uint64_t epochs);

/// What is wrong with the events of a run that has finished: a step missing or with other rows, an epoch with
/// another number of rows; each step as the last start that did it says.
std::vector<std::string> check_order(FileSystem& files, const std::filesystem::path& run,
                                     const ExpectedOrder& expected);

struct ElasticVerdict {
  std::vector<std::string> broken;
  std::map<std::string, std::uint64_t> edges;  ///< how often which edge was hit
};

/// Ranks as threads of this process, files of the run in memory; a killed start's files stay as they are.
ElasticVerdict run_elastic_trial(const ElasticSchedule& schedule, const std::filesystem::path& scratch);

}  // namespace muster
