#include "trainer/runlog/efficiency.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "trainer/comm/gather.h"
#include "trainer/runlog/flop_counter.h"

namespace muster {
namespace {

struct Peak {
  const char* name;  ///< of CUDA's name of the GPU: whole words
  double bfloat16;
  double float32;  ///< not TF32: products of float32 are not rounded to it
};

// NVIDIA's data sheets, dense, in operations a second. The first that fits counts.
constexpr Peak kPeaks[] = {
    {"H100 PCIe", 756e12, 51e12}, {"H100 NVL", 835e12, 60e12}, {"H100", 989e12, 67e12},
    {"H200", 989e12, 67e12},      {"GH200", 989e12, 67e12},    {"B200", 2250e12, 75e12},
    {"A100", 312e12, 19.5e12},    {"A800", 312e12, 19.5e12},   {"L40S", 362e12, 91.6e12},
    {"L4", 121e12, 30.3e12},      {"A10G", 70e12, 31.2e12},    {"A10", 125e12, 31.2e12},
};

bool has_words(std::string_view text, std::string_view words) {
  const std::size_t at = text.find(words);
  if (at == std::string_view::npos) return false;
  const auto is_edge = [&](std::size_t i) { return i >= text.size() || text[i] == ' ' || text[i] == '-'; };
  return (at == 0 || is_edge(at - 1)) && is_edge(at + words.size());
}

}  // namespace

double peak_flops(const std::string& gpu, const std::string& precision) {
  for (const Peak& peak : kPeaks) {
    if (!has_words(gpu, peak.name)) continue;
    return precision == "float32" ? peak.float32 : peak.bfloat16;
  }
  return 0;
}

void Efficiency::count_operations(Communicator& comm, std::uint64_t rows, double peak) {
  double all = kTrainingFlopsPerForward * forward_flops_;
  comm.all_reduce_sum("operations", std::span(&all, 1));
  flops_per_row_ = rows > 0 ? all / static_cast<double>(rows) : 0;
  peak_ = peak * comm.size();
}

void Efficiency::note_step(std::uint64_t rows, double seconds, const Waits& waited,
                           std::span<const StepSeconds> ranks) {
  ++since_.steps;
  since_.rows += rows;
  since_.seconds += seconds;
  since_.waits.data += waited.data;
  since_.waits.communication += waited.communication;
  since_.compute.resize(ranks.size());
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) since_.compute[rank] += ranks[rank].compute;
}

std::optional<EfficiencyFigures> Efficiency::take(Communicator& comm, const RankUse& mine) {
  const Sums sums = std::exchange(since_, {});
  if (sums.steps == 0) return std::nullopt;
  EfficiencyFigures figures;
  const std::vector<RankUse> all = gather(comm, "efficiency", std::span(&mine, 1));
  gpu_waited_.resize(all.size());
  const auto steps = static_cast<double>(sums.steps);
  const double seconds = std::max(1e-9, sums.seconds);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const RankUse& use = all[rank];
    figures.resident_bytes.push_back(use.resident_bytes);
    figures.peak_bytes.push_back(use.peak_bytes);
    if (use.gpu_peak_bytes > 0) figures.gpu_peak_bytes.push_back(use.gpu_peak_bytes);
    if (!use.gpu_wait_seconds) continue;
    const double waited = *use.gpu_wait_seconds - std::exchange(gpu_waited_[rank], *use.gpu_wait_seconds);
    figures.gpu_wait_shares.push_back(std::clamp(waited / seconds, 0.0, 1.0));
  }
  const double flops = flops_per_row_ * static_cast<double>(sums.rows);
  const double work = std::accumulate(sums.compute.begin(), sums.compute.end(), 0.0);
  const double mean = work / static_cast<double>(sums.compute.size());
  figures.steps = sums.steps;
  figures.step_seconds = seconds / steps;
  figures.flops_per_step = flops / steps;
  figures.flops_per_second = flops / seconds;
  if (peak_ > 0) figures.utilization = flops / seconds / peak_;
  figures.data_share = std::clamp(sums.waits.data / seconds, 0.0, 1.0);
  figures.communication_share = std::clamp(sums.waits.communication / seconds, 0.0, 1.0);
  if (mean > 0) figures.skew = *std::ranges::max_element(sums.compute) / mean;
  return figures;
}

}  // namespace muster
