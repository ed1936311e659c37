#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/text.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/order/order_digest.h"
#include "launch/invocation.h"
#include "trainer/comm/local_communicator.h"
#include "trainer/data/run_plan.h"
#include "trainer/loop/trainer.h"

namespace muster {
namespace {

struct OrderFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::uint64_t epoch = 0;
  std::string steps;
  int world = 1;
};

/// The half-open range "A:B" of steps, or all of them.
std::pair<std::uint64_t, std::uint64_t> parse_steps(const std::string& text, std::uint64_t all) {
  if (text.empty()) return {0, all};
  const std::vector<std::string> parts = split(text, ':');
  try {
    if (parts.size() == 2) {
      const std::uint64_t first = parts[0].empty() ? 0 : std::stoull(parts[0]);
      const std::uint64_t last = parts[1].empty() ? all : std::stoull(parts[1]);
      if (first <= last && last <= all) return {first, last};
    }
  } catch (const std::logic_error&) {
    fail(ErrorCode::kUsage, "--steps {}: A:B was expected, two numbers", text);
  }
  fail(ErrorCode::kUsage, "--steps {}: A:B with A <= B <= {} (steps of an epoch) was expected", text, all);
}

/// Order settings with the window that training would choose on so many ranks.
OrderSettings resolved_order(const Config& config, const Dataset& dataset, int world) {
  OrderSettings settings = order_settings(config);
  OrderSettings checked = settings;
  checked.window = std::max(1U, checked.window);  // 0: still open
  check_order(checked, static_cast<std::uint32_t>(world));
  if (settings.window > 0) return settings;
  const FeaturePipeline pipeline = unfitted_pipeline(config, dataset);
  run_local(world, [&](Communicator& comm) {
    const OrderSettings order = make_run_plan(comm, config, dataset, pipeline).order;
    if (comm.rank() == 0) settings = order;
  });
  return settings;
}

void print_step(StepRows& rows, std::uint64_t step, const OrderFlags& flags, std::uint32_t lanes) {
  const std::string digest = rows.digest(step).hex();
  const auto world = static_cast<std::uint32_t>(flags.world);
  for (std::uint32_t rank = 0; rank < world; ++rank) {
    Json list = Json::array();
    for (const RowId& id : rows.rows(step, lanes_of_rank(rank, world, lanes)))
      list.push_back({id.partition, id.row});
    const Json line = {
        {"epoch", rows.order().epoch()}, {"step", step}, {"rank", rank}, {"rows", list}, {"digest", digest}};
    std::printf("%s\n", line.dump().c_str());
  }
}

int run_order(const OrderFlags& flags) {
  const Config config = Config::load(flags.config, flags.overrides, registered_model_options());
  const Dataset dataset = Dataset::open(config.text_at("data", "dataset"), config.text_at("data", "root"));
  const RowIndex& index = dataset.row_index();
  const std::uint8_t split = index.split(config.text_at("data", "split"));
  const OrderSettings settings = resolved_order(config, dataset, flags.world);
  const SampleOrder order(index.rows_per_block(split), settings);
  const auto [first, last] = parse_steps(flags.steps, order.steps_per_epoch());
  StepRows rows(index, split, order.epoch(flags.epoch));
  for (std::uint64_t step = first; step < last; ++step) print_step(rows, step, flags, settings.lanes);
  const Json summary = {{"epoch", flags.epoch},
                        {"world", flags.world},
                        {"rows", order.rows()},
                        {"steps_per_epoch", order.steps_per_epoch()},
                        {"lanes", settings.lanes},
                        {"window", settings.window},
                        {"batch_size", settings.batch_size}};
  std::printf("%s\n", summary.dump().c_str());
  return 0;
}

}  // namespace

void add_order(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, invocation, "order",
                  "which rows each rank gets in which step: computed, nothing is read but the row index",
                  "muster order configs/card-fraud.yaml --epoch 0 --steps 0:2 --world 3");
  auto flags = std::make_shared<OrderFlags>();
  command->add_option("CONFIG", flags->config, "a configuration; of a run: RUN/config.yaml")->required();
  command->add_option("--set", flags->overrides, "SECTION.KEY=VALUE over the file's")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--epoch", flags->epoch, "epoch, from 0")->capture_default_str()->check(not_negative());
  command->add_option("--steps", flags->steps, "A:B, half-open, within the epoch; default: all");
  command->add_option("--world", flags->world, "number of ranks")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->callback([&invocation, flags] { invocation.action = [flags] { return run_order(*flags); }; });
}

}  // namespace muster
