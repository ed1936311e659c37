#include "trainer/data/run_plan.h"

#include <algorithm>

#include "core/text.h"
#include "data_loader/contract/summary_tree.h"
#include "trainer/comm/agreement.h"

namespace muster {

Json RunPlan::to_json() const {
  return {{"split", split},
          {"rows", rows},
          {"lanes", order.lanes},
          {"batch_size", order.batch_size},
          {"window", order.window},
          {"seed", order.seed},
          {"steps_per_epoch", steps_per_epoch},
          {"total_steps", total_steps},
          {"live_blocks", live_blocks},
          {"shuffle_variance_ratio", variance_ratio},
          {"max_over_mean_load", max_over_mean_load},
          {"memory_bytes", memory.total() + evaluation_memory.total()}};
}

std::string describe(const RunPlan& plan, int ranks) {
  std::string line = fmt::format(
      "{} rows of '{}', {} steps of {} in {} epochs, {} ranks on {} lanes (max/mean load {:.2f}), loader "
      "memory {}, {} live "
      "blocks (class-count variance about {:.1f}x a true shuffle's)",
      human_count(plan.rows), plan.split, human_count(plan.total_steps), plan.order.batch_size, plan.epochs(),
      ranks, plan.order.lanes, plan.max_over_mean_load,
      human_bytes(plan.memory.total() + plan.evaluation_memory.total()), human_count(plan.live_blocks),
      plan.variance_ratio);
  constexpr double kPoor = 6;
  if (plan.variance_ratio > kPoor)
    line += "; if the files are sorted, rewrite them with `muster ingest --shuffle SEED`";
  return line;
}

FieldChoice field_choice(const Config& config) {
  return {config.at("data", "features").get<std::vector<std::string>>(),
          config.section("data").value("labels", std::vector<std::string>())};
}

FeaturePipeline unfitted_pipeline(const Config& config, const Dataset& dataset) {
  const FieldChoice choice = field_choice(config);
  const auto fields = FeaturePipeline::select(dataset.contract(), choice.features);
  const auto summarized = FeaturePipeline::to_summarize(dataset.contract(), fields, choice.labels);
  return FeaturePipeline::fit(dataset.contract(), fields, std::vector<FieldSummary>(summarized.size()),
                              choice.labels);
}

OrderSettings order_settings(const Config& config) {
  OrderSettings settings;
  settings.seed = config.unsigned_at("run", "seed");
  settings.batch_size = static_cast<std::uint32_t>(config.unsigned_at("batch", "size"));
  const Json& lanes = config.at("batch", "lanes");
  settings.lanes = lanes.is_null() ? default_lanes(settings.batch_size) : lanes.get<std::uint32_t>();
  const Json& window = config.at("batch", "window");
  settings.window = window.is_null() ? 0 : window.get<std::uint32_t>();
  return settings;
}

StreamOptions stream_options(const Config& config) {
  return {static_cast<unsigned>(config.unsigned_at("loader", "threads")),
          config.unsigned_at("loader", "memory")};
}

StreamOptions training_stream(const Config& config, const RunPlan& plan) {
  StreamOptions options = stream_options(config);
  options.reserved = plan.evaluation_memory.total();
  return options;
}

StreamOptions evaluation_stream(const Config& config, const RunPlan& plan) {
  StreamOptions options = stream_options(config);
  options.memory = plan.evaluation_memory.total();
  return options;
}

namespace {

std::uint64_t blocks_with_rows(const RowIndex& index, std::uint8_t split) {
  const std::vector<std::uint32_t> rows = index.rows_per_block(split);
  return static_cast<std::uint64_t>(std::count_if(rows.begin(), rows.end(), [](auto r) { return r > 0; }));
}

/// The memory of this rank's stream with these settings.
StreamMemory memory_of(Communicator& comm, const Config& config, const Dataset& dataset,
                       const FeaturePipeline& pipeline, const RunPlan& run, const OrderSettings& order) {
  const auto world = static_cast<std::uint32_t>(comm.size());
  const auto plan = make_training_plan(dataset.row_index(), run.split_number, order, {0, 0}, run.epochs(),
                                       static_cast<std::uint32_t>(comm.rank()), world);
  StreamOptions options = training_stream(config, run);
  options.world = world;
  options.lanes = order.lanes;
  return plan_memory(*plan, pipeline, dataset.contract(), dataset.row_index().blocks(), options);
}

std::uint8_t split_with_rows(const Dataset& dataset, const std::string& name) {
  const std::uint8_t split = dataset.row_index().split(name);
  if (dataset.row_index().rows(split) == 0) {
    throw Error(ErrorCode::kConfig, fmt::format("split '{}' has no rows: see `muster validate`", name),
                dataset.directory().string());
  }
  return split;
}

/// What evaluations during the run take on this rank: a quarter of loader.memory at most, where that does.
StreamMemory memory_of_evaluation(Communicator& comm, const Config& config, const Dataset& dataset,
                                  const FeaturePipeline& pipeline) {
  const std::string name = config.text_at("evaluate", "split");
  if (name.empty()) return {};
  const auto split = attempt([&] { return split_with_rows(dataset, name); });
  if (!split.ok()) {
    throw Error(ErrorCode::kConfig,
                fmt::format("evaluate.split: {} (evaluate.split: \"\" evaluates nothing while training)",
                            split.error().message()),
                split.error().where());
  }
  const auto plan =
      make_evaluation_plan(dataset.row_index(), split.value(),
                           static_cast<std::uint32_t>(config.unsigned_at("evaluate", "micro_batch")),
                           static_cast<std::uint32_t>(comm.rank()), static_cast<std::uint32_t>(comm.size()));
  const auto within = [&](std::uint64_t memory) {
    StreamOptions options = stream_options(config);
    options.memory = memory;
    return plan_memory(*plan, pipeline, dataset.contract(), dataset.row_index().blocks(), options);
  };
  const std::uint64_t all = config.unsigned_at("loader", "memory");
  const auto quarter = attempt([&] { return within(all / 4); });
  return quarter.ok() ? quarter.value() : within(all);
}

/// Rows and steps, which do not depend on the window.
void count_steps(const Config& config, const Dataset& dataset, const OrderSettings& settings, RunPlan& plan) {
  const SampleOrder order(dataset.row_index().rows_per_block(plan.split_number), settings);
  plan.rows = order.rows();
  plan.steps_per_epoch = order.steps_per_epoch();
  const Json& steps = config.at("train", "steps");
  plan.total_steps = steps.is_null() ? config.unsigned_at("train", "epochs") * plan.steps_per_epoch
                                     : steps.get<std::uint64_t>();
}

/// The largest window up to the default that fits this rank's memory.
std::uint32_t fitting_window(Communicator& comm, const Config& config, const Dataset& dataset,
                             const FeaturePipeline& pipeline, const RunPlan& run) {
  OrderSettings order = run.order;
  const std::uint64_t blocks_per_lane =
      blocks_with_rows(dataset.row_index(), run.split_number) / order.lanes + 2;
  const std::uint64_t wanted = (4 * std::uint64_t{order.batch_size} + order.lanes - 1) / order.lanes;
  order.window = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, std::min(wanted, blocks_per_lane)));
  while (true) {
    const auto memory = attempt([&] { return memory_of(comm, config, dataset, pipeline, run, order); });
    if (memory.ok()) return order.window;
    if (order.window == 1) throw memory.error();
    order.window /= 2;
  }
}

}  // namespace

RunPlan make_run_plan(Communicator& comm, const Config& config, const Dataset& dataset,
                      const FeaturePipeline& pipeline) {
  const auto world = static_cast<std::uint32_t>(comm.size());
  RunPlan plan;
  plan.order = order_settings(config);
  plan.split = config.text_at("data", "split");
  const std::uint32_t window = together(comm, "plan", [&] {
    plan.split_number = split_with_rows(dataset, plan.split);
    plan.evaluation_memory = memory_of_evaluation(comm, config, dataset, pipeline);
    OrderSettings checked = plan.order;
    checked.window = std::max(1U, checked.window);  // 0: still open
    check_order(checked, world);
    count_steps(config, dataset, checked, plan);
    if (plan.order.window > 0) return plan.order.window;
    return fitting_window(comm, config, dataset, pipeline, plan);
  });
  plan.order.window = smallest(comm, "window", window);
  plan.memory = together(comm, "loader memory",
                         [&] { return memory_of(comm, config, dataset, pipeline, plan, plan.order); });
  plan.live_blocks = std::min<std::uint64_t>(std::uint64_t{plan.order.window} * plan.order.lanes,
                                             blocks_with_rows(dataset.row_index(), plan.split_number));
  plan.variance_ratio = shuffle_variance_ratio(plan.order.batch_size, plan.live_blocks);
  const double mean = static_cast<double>(plan.order.lanes) / world;
  const std::uint32_t most_lanes = (plan.order.lanes + world - 1) / world;
  plan.max_over_mean_load = most_lanes / mean;
  return plan;
}

namespace {

/// This rank's run of blocks [first, last): equal shares of those that have rows, the others wherever they
/// lie.
std::pair<std::uint64_t, std::uint64_t> blocks_to_fit(Communicator& comm,
                                                      const std::vector<std::uint32_t>& rows) {
  std::vector<std::uint64_t> with_rows;
  for (std::uint64_t block = 0; block < rows.size(); ++block) {
    if (rows[block] > 0) with_rows.push_back(block);
  }
  const auto world = static_cast<std::uint64_t>(comm.size());
  const auto begin = [&](std::uint64_t rank) -> std::uint64_t {
    if (rank == 0) return 0;
    const std::uint64_t share = rank * with_rows.size() / world;
    return rank == world || share == with_rows.size() ? rows.size() : with_rows[share];
  };
  const auto rank = static_cast<std::uint64_t>(comm.rank());
  return {begin(rank), begin(rank + 1)};
}

}  // namespace

FeaturePipeline fit_pipeline(Communicator& comm, const Dataset& dataset, const std::string& split,
                             const FieldChoice& choice, const LogSink& log,
                             const std::function<void()>& before_block) {
  const RowIndex& index = dataset.row_index();
  const auto blocks = static_cast<std::uint64_t>(index.blocks().size());
  std::vector<std::size_t> fields;
  std::size_t summarized = 0;
  const SummaryTree mine = together(comm, "fit", [&] {
    fields = FeaturePipeline::select(dataset.contract(), choice.features);
    const auto wanted = FeaturePipeline::to_summarize(dataset.contract(), fields, choice.labels);
    summarized = wanted.size();
    const std::uint8_t split_number = index.split(split);
    const auto reader = dataset.make_reader();
    SummaryTree tree;
    std::vector<std::byte> column;
    const auto [first, last] = blocks_to_fit(comm, index.rows_per_block(split_number));
    for (std::uint64_t block = first; block < last; ++block) {
      if (before_block) before_block();
      const auto number = static_cast<std::uint32_t>(block);
      const std::vector<std::uint32_t> rows = index.rows_of(split_number, number);
      SummaryTree::Summaries leaf(wanted.size());
      for (std::size_t i = 0; i < wanted.size() && !rows.empty(); ++i) {
        const Field& field = dataset.contract().fields()[wanted[i]];
        column.resize(index.blocks()[block].rows * field.bytes_per_row());
        reader->read(number, wanted[i], column);
        leaf[i] = FieldSummary::of(field, needs_of(field), column, rows);
      }
      tree.add(number, std::move(leaf));
    }
    return tree;
  });
  SummaryTree all;
  for (const auto& bytes : comm.all_gather("statistics", mine.serialize()))
    all.absorb(SummaryTree::deserialize(bytes));
  if (comm.rank() == 0)
    log(LogLevel::kInfo, fmt::format("fitted {} fields on split '{}'", summarized, split));
  const auto summaries = all.root(static_cast<std::uint32_t>(blocks));
  return together(comm, "fit pipeline",
                  [&] { return FeaturePipeline::fit(dataset.contract(), fields, summaries, choice.labels); });
}

}  // namespace muster
