#include "trainer/step_report.h"

#include <cmath>
#include <cstring>
#include <type_traits>

namespace muster {

StepTotals exchange_reports(Communicator& comm, const StepReport& mine) {
  static_assert(std::is_trivially_copyable_v<StepReport>);
  StepTotals totals;
  const auto all = comm.all_gather("step report", std::as_bytes(std::span(&mine, 1)));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    StepReport report;
    std::memcpy(&report, all[rank].data(), sizeof report);
    totals.loss += report.loss;
    totals.weight += report.weight;
    totals.rows += report.rows;
    totals.digest += report.digest;
    totals.stop = totals.stop || report.stop;
    totals.save = totals.save || report.save;
    const bool finite = std::isfinite(report.loss) && std::isfinite(report.weight);
    if (!finite && totals.first_not_finite < 0) totals.first_not_finite = static_cast<int>(rank);
  }
  return totals;
}

}  // namespace muster
