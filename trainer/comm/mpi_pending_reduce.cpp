#include "trainer/comm/mpi_pending_reduce.h"

#include <utility>

#include "core/error.h"

namespace muster {
namespace {

class MpiPendingReduce : public PendingReduce {
 public:
  MpiPendingReduce(std::shared_ptr<MpiEngine> engine, std::shared_ptr<MpiOperation> operation)
      : engine_(std::move(engine)), operation_(std::move(operation)) {}

  ~MpiPendingReduce() override {
    try {
      MpiPendingReduce::wait();
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch)
      // The engine keeps the failure: the rank's next collective throws it.
    }
  }

  void wait() override {
    if (const auto operation = std::exchange(operation_, nullptr)) engine_->wait(*operation);
  }

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<MpiOperation> operation_;  ///< null once waited for
};

}  // namespace

std::unique_ptr<PendingReduce> pending_reduce(std::shared_ptr<MpiEngine> engine,
                                              std::shared_ptr<MpiOperation> operation) {
  engine->hand_over(operation);
  return std::make_unique<MpiPendingReduce>(std::move(engine), std::move(operation));
}

std::unique_ptr<PendingReduce> start_moved_sum(std::shared_ptr<MpiEngine> engine, std::string_view name,
                                               std::function<SharedSum::Progress(MpiOperation&)> advance) {
  auto operation = engine->start_moved(name, std::move(advance));
  return pending_reduce(std::move(engine), std::move(operation));
}

}  // namespace muster
