#include "trainer/step_report.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace muster {

StepTotals exchange_reports(Communicator& comm, const StepReport& mine, const std::string& news) {
  static_assert(std::is_trivially_copyable_v<StepReport>);
  StepTotals totals;
  std::vector<std::byte> bytes(sizeof mine + news.size());
  std::memcpy(bytes.data(), &mine, sizeof mine);
  std::memcpy(bytes.data() + sizeof mine, news.data(), news.size());
  const auto all = comm.all_gather("step report", bytes);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    StepReport report;
    std::memcpy(&report, all[rank].data(), sizeof report);
    totals.news.emplace_back(reinterpret_cast<const char*>(all[rank].data()) + sizeof report,
                             all[rank].size() - sizeof report);
    totals.loss += report.loss;
    totals.weight += report.weight;
    totals.rows += report.rows;
    totals.digest += report.digest;
    totals.stop = std::max(totals.stop, report.stop);
    totals.save = totals.save || report.save;
    const bool finite = std::isfinite(report.loss) && std::isfinite(report.weight);
    if (!finite && totals.first_not_finite < 0) totals.first_not_finite = static_cast<int>(rank);
  }
  return totals;
}

}  // namespace muster
