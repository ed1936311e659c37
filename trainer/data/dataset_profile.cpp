#include "trainer/data/dataset_profile.h"

#include "data_loader/contract/summary_tree.h"
#include "data_loader/dataset/profile.h"
#include "trainer/comm/agreement.h"

namespace muster {

Json profile_dataset(Communicator& comm, const Dataset& dataset,
                     const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  same_everywhere(comm, "dataset", dataset.manifest().fingerprint().hex());
  const std::uint64_t blocks = dataset.row_index().blocks().size();
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  const auto world = static_cast<std::uint64_t>(comm.size());
  const SummaryTree mine = together(comm, "profile", [&] {
    const auto reader = dataset.make_reader();
    SummaryTree tree;
    const std::uint64_t first = rank * blocks / world;
    const std::uint64_t last = (rank + 1) * blocks / world;
    for (std::uint64_t block = first; block < last; ++block) {
      const auto number = static_cast<std::uint32_t>(block);
      tree.add(number, profile_block(*reader, dataset, number));
      if (progress) progress(block - first + 1, last - first);
    }
    return tree;
  });
  SummaryTree all;
  for (const auto& bytes : comm.all_gather("profile", mine.serialize()))
    all.absorb(SummaryTree::deserialize(bytes));
  return profile_json(dataset, all.root(static_cast<std::uint32_t>(blocks)));
}

}  // namespace muster
