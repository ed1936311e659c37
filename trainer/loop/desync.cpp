#include "trainer/loop/desync.h"

#include <algorithm>
#include <map>

#include "core/text.h"
#include "trainer/comm/agreement.h"
#include "trainer/comm/gather.h"

namespace muster {

std::vector<int> odd_ranks(const std::vector<std::string>& of_ranks) {
  std::map<std::string, std::size_t> counts;
  for (const std::string& text : of_ranks) ++counts[text];
  const auto most = std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; });
  const bool majority = 2 * most->second > of_ranks.size();
  std::vector<int> odd;
  for (std::size_t rank = 0; rank < of_ranks.size(); ++rank) {
    if (counts.size() > 1 && (!majority || of_ranks[rank] != most->first))
      odd.push_back(static_cast<int>(rank));
  }
  return odd;
}

void check_same_weights(Communicator& comm, std::uint64_t step, const std::string& hash) {
  const std::vector<int> odd = odd_ranks(gather_texts(comm, "weights", hash));
  if (odd.empty()) return;
  std::vector<std::string> names;
  for (const int rank : odd) names.push_back(std::to_string(rank));
  const bool all = static_cast<int>(odd.size()) == comm.size();
  throw AgreedError(
      Error(ErrorCode::kBug,
            fmt::format(
                "step {}: the weights of rank{} {} differ{}: memory or a library failed there, or the model "
                "draws random numbers of its own; start again, from the last checkpoint",
                step, odd.size() == 1 ? "" : "s", join(names, ", "),
                all ? " from each other" : " from those of the other ranks")),
      comm.rank() == odd.front());
}

}  // namespace muster
