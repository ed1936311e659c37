#include "trainer/runlog/step_report.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace muster {

namespace {

/// A report, the length of the first text, and both texts.
std::vector<std::byte> pack(const StepReport& report, const StepNews& news) {
  static_assert(std::is_trivially_copyable_v<StepReport>);
  const std::uint64_t length = news.checkpoint.size();
  std::vector<std::byte> bytes(sizeof report + sizeof length + length + news.bad_rows.size());
  std::byte* at = bytes.data();
  const auto put = [&at](const void* from, std::size_t size) {
    if (size > 0) std::memcpy(at, from, size);
    at += size;
  };
  put(&report, sizeof report);
  put(&length, sizeof length);
  put(news.checkpoint.data(), news.checkpoint.size());
  put(news.bad_rows.data(), news.bad_rows.size());
  return bytes;
}

std::pair<StepReport, StepNews> unpack(std::span<const std::byte> bytes) {
  StepReport report;
  std::uint64_t length = 0;
  ensure(bytes.size() >= sizeof report + sizeof length, "a step report of {} bytes", bytes.size());
  std::memcpy(&report, bytes.data(), sizeof report);
  std::memcpy(&length, bytes.data() + sizeof report, sizeof length);
  const std::string_view texts(reinterpret_cast<const char*>(bytes.data()) + sizeof report + sizeof length,
                               bytes.size() - sizeof report - sizeof length);
  ensure(length <= texts.size(), "a step report whose text of {} bytes is cut off", length);
  return {report, {std::string(texts.substr(0, length)), std::string(texts.substr(length))}};
}

}  // namespace

StepTotals exchange_reports(Communicator& comm, const StepReport& mine, const StepNews& news) {
  StepTotals totals;
  const auto all = comm.all_gather("step report", pack(mine, news));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    auto [report, texts] = unpack(all[rank]);
    totals.checkpoint.push_back(std::move(texts.checkpoint));
    totals.bad_rows.push_back(std::move(texts.bad_rows));
    totals.passed_over += report.passed_over;
    totals.seconds.push_back(report.seconds);
    totals.loss += report.loss;
    totals.weight += report.weight;
    totals.rows += report.rows;
    totals.digest += report.digest;
    totals.stop = std::max(totals.stop, report.stop);
    totals.save = totals.save || report.save;
    if (report.without_batch && totals.first_without_batch < 0)
      totals.first_without_batch = static_cast<int>(rank);
    const bool finite = std::isfinite(report.loss) && std::isfinite(report.weight);
    if (!finite && totals.first_not_finite < 0) totals.first_not_finite = static_cast<int>(rank);
  }
  return totals;
}

}  // namespace muster
