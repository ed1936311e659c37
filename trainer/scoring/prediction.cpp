#include "trainer/scoring/prediction.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>
#include <utility>

#include "data_loader/dataset/contract_check_reader.h"
#include "data_loader/dataset/dataset.h"
#include "data_loader/dataset/split_rows.h"
#include "data_loader/ingest/scored_rows.h"
#include "data_loader/stream/batch_stream.h"
#include "data_loader/writing/table_writer.h"
#include "trainer/comm/agreement.h"
#include "trainer/data/run_plan.h"

namespace muster {
namespace {

Field plain_field(std::string name, DType dtype, std::vector<std::uint64_t> shape = {}) {
  Field field;
  field.name = field.path = std::move(name);
  field.dtype = dtype;
  field.shape = std::move(shape);
  return field;
}

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

/// The inputs as the checkpoint's contract has them, where they lie in the data.
std::vector<CheckedField> fields_to_check(const Contract& data, const Contract& trained,
                                          const FeaturePipeline& pipeline) {
  std::vector<CheckedField> fields;
  for (const std::size_t number : pipeline.source_fields()) {
    const Field& there = data.fields()[number];
    Field rules = trained.field(there.name);
    if (rules.unit != there.unit)
      throw Error(ErrorCode::kConfig,
                  fmt::format("field '{}' is in '{}' here and in '{}' in the checkpoint's contract",
                              there.name, there.unit, rules.unit),
                  "contract.yaml");
    rules.path = there.path;
    fields.push_back({number, std::move(rules)});
  }
  return fields;
}

/// What a row keeps of the data: keys, time, label.
std::vector<std::size_t> kept_fields(const Contract& contract) {
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < contract.fields().size(); ++i) {
    const Role role = contract.fields()[i].role;
    if (role == Role::kKey || role == Role::kTime || role == Role::kLabel) kept.push_back(i);
  }
  return kept;
}

/// All columns of the file, in order.
std::vector<Field> output_fields(const Contract& contract, const std::vector<std::size_t>& kept,
                                 const Scorer& scorer) {
  std::vector<Field> fields{plain_field("partition", DType::kUInt32), plain_field("row", DType::kUInt64)};
  for (const std::size_t number : kept) {
    Field field = contract.fields()[number];
    field.name = field.path = name_beside_scores(field.name);
    fields.push_back(std::move(field));
  }
  const std::vector<Field> scores = score_fields(scorer);
  fields.insert(fields.end(), scores.begin(), scores.end());
  return fields;
}

/// What is read and in which rounds; the same on every rank.
struct Work {
  Dataset dataset;
  RowIndex index;
  std::uint8_t split = 0;
  std::uint64_t rows = 0;
  std::uint64_t left_out = 0;
  std::uint32_t micro_batch = 0;
  std::uint64_t run = 0;  ///< micro-batches of a rank in a round
  std::uint64_t rounds = 0;
};

std::uint64_t ceil_divide(std::uint64_t a, std::uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// As many micro-batches as four blocks have: few blocks are then decoded by two ranks. Of rows with many
/// scores fewer, as rank 0 holds the scores of a run of every rank.
std::uint64_t run_length(const std::vector<Block>& blocks, std::uint32_t micro_batch, std::size_t outputs) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{16} << 20;
  std::uint64_t most = 1;
  for (const Block& block : blocks) most = std::max<std::uint64_t>(most, block.rows);
  const std::uint64_t run = std::max<std::uint64_t>(16, ceil_divide(4 * most, micro_batch));
  return std::clamp<std::uint64_t>(kMostBytes / (outputs * sizeof(float) * micro_batch), 1, run);
}

Work plan_work(const PredictOptions& options, Dataset dataset, const TrainedModel& trained,
               const Scorer& scorer, std::uint64_t world) {
  RowIndex index = dataset.row_index();
  std::uint8_t split = 0;
  if (!options.split.empty()) {
    split = index.split(options.split);
  } else {
    const auto reader = dataset.make_reader();
    index = index_scored_rows(*reader, dataset.contract(), scorer.pipeline().source_fields());
  }
  const std::uint64_t rows = index.rows(split);
  if (rows == 0) {
    fail(ErrorCode::kConfig, "{} has no rows to predict",
         options.split.empty() ? dataset.directory().string() : "split '" + options.split + "'");
  }
  const auto micro_batch = static_cast<std::uint32_t>(trained.config.unsigned_at("evaluate", "micro_batch"));
  const std::uint64_t run = run_length(index.blocks(), micro_batch, scorer.outputs());
  const std::uint64_t rounds = ceil_divide(ceil_divide(rows, micro_batch), run * world);
  const std::uint64_t left_out = options.split.empty() ? dataset.manifest().rows() - rows : 0;
  return {std::move(dataset), std::move(index), split, rows, left_out, micro_batch, run, rounds};
}

/// Rank 0's end: rows in order, as the rounds' scores come in.
class PredictionFile {
 public:
  PredictionFile(FileSystem& files, const PredictOptions& options, const Work& work, const Scorer& scorer)
      : scorer_(scorer),
        kept_(kept_fields(work.dataset.contract())),
        reader_(work.dataset.make_reader()),
        rows_(*reader_, work.dataset.contract(), work.index, work.split, kept_),
        writer_(
            make_table_writer(files, options.out, output_fields(work.dataset.contract(), kept_, scorer))) {}

  void append(std::span<const float> scores) {
    const std::size_t rows = scores.size() / scorer_.outputs();
    if (rows == 0) return;
    rows_.next(rows);
    std::vector<std::uint32_t> partitions;
    std::vector<std::uint64_t> numbers;
    for (const RowId& id : rows_.ids()) {
      partitions.push_back(id.partition);
      numbers.push_back(id.row);
    }
    const auto ours = score_columns(scorer_, scores);
    std::vector<std::span<const std::byte>> columns{std::as_bytes(std::span(partitions)),
                                                    std::as_bytes(std::span(numbers))};
    for (std::size_t i = 0; i < kept_.size(); ++i) columns.push_back(rows_.column(i));
    columns.insert(columns.end(), ours.begin(), ours.end());
    writer_->append(columns, rows);
    done_ += rows;
  }
  std::uint64_t done() const { return done_; }
  void close() { writer_->close(); }

 private:
  const Scorer& scorer_;
  std::vector<std::size_t> kept_;
  std::unique_ptr<BlockReader> reader_;
  SplitRows rows_;
  std::unique_ptr<TableWriter> writer_;
  std::uint64_t done_ = 0;
};

/// This rank's micro-batches of the next round, as bytes for rank 0.
std::vector<std::byte> score_round(BatchStream& stream, Scorer& scorer, std::uint64_t run) {
  std::vector<float> scores;
  for (std::uint64_t i = 0; i < run; ++i) {
    const Batch* batch = stream.next();
    if (batch == nullptr) break;
    const std::vector<float> more = scorer.score(*batch);
    scores.insert(scores.end(), more.begin(), more.end());
  }
  return bytes_of(scores);
}

std::vector<float> floats_of(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

void refuse_existing(FileSystem& files, const PredictOptions& options) {
  if (options.overwrite || !files.exists(options.out)) return;
  throw Error(ErrorCode::kUsage, "is there already; --overwrite replaces it", options.out.string());
}

}  // namespace

std::string name_beside_scores(const std::string& name) {
  const std::set<std::string> ours{"partition", "row", "probability", "predicted", "prediction", "error"};
  return ours.contains(name) ? "data." + name : name;
}

namespace {

/// "probability.NAME" and "predicted.NAME", or "prediction.NAME", of each target.
std::vector<Field> target_fields(const Scorer& scorer) {
  std::vector<Field> fields;
  for (const std::string& target : scorer.targets()) {
    if (scorer.kind() == LossKind::kMse) {
      fields.push_back(plain_field("prediction." + target, DType::kFloat32));
      continue;
    }
    fields.push_back(plain_field("probability." + target, DType::kFloat32));
    fields.push_back(plain_field("predicted." + target, DType::kInt64));
  }
  return fields;
}

std::vector<std::vector<std::byte>> target_columns(const Scorer& scorer, std::span<const float> scores) {
  std::vector<std::vector<std::byte>> columns;
  const std::size_t width = scorer.outputs();
  for (std::size_t target = 0; target < width; ++target) {
    std::vector<float> ours;
    std::vector<std::int64_t> predicted;
    for (std::size_t place = target; place < scores.size(); place += width) {
      ours.push_back(scores[place]);
      predicted.push_back(decide(scorer, scores.subspan(place, 1)));
    }
    columns.push_back(bytes_of(ours));
    if (scorer.kind() != LossKind::kMse) columns.push_back(bytes_of(predicted));
  }
  return columns;
}

}  // namespace

std::vector<Field> score_fields(const Scorer& scorer) {
  if (!scorer.targets().empty()) return target_fields(scorer);
  std::vector<std::uint64_t> shape(scorer.label_shape().begin(), scorer.label_shape().end());
  if (scorer.kind() == LossKind::kMse) return {plain_field("prediction", DType::kFloat32, shape)};
  if (scorer.kind() == LossKind::kCrossEntropy) shape = {scorer.outputs()};
  return {plain_field("probability", DType::kFloat32, shape), plain_field("predicted", DType::kInt64)};
}

std::vector<std::vector<std::byte>> score_columns(const Scorer& scorer, std::span<const float> scores) {
  if (!scorer.targets().empty()) return target_columns(scorer, scores);
  const auto bytes = std::as_bytes(scores);
  std::vector<std::vector<std::byte>> columns{{bytes.begin(), bytes.end()}};
  if (scorer.kind() == LossKind::kMse) return columns;
  std::vector<std::int64_t> predicted;
  for (std::size_t first = 0; first < scores.size(); first += scorer.outputs())
    predicted.push_back(decide(scorer, scores.subspan(first, scorer.outputs())));
  columns.push_back(bytes_of(predicted));
  return columns;
}

Json predict(Communicator& comm, FileSystem& files, const PredictOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  together(comm, "output", [&] {
    refuse_existing(files, options);
    return 0;
  });
  const TrainedModel trained = load_trained_model(comm, files, options.checkpoint);
  Dataset dataset =
      together(comm, "open dataset", [&] { return Dataset::open(options.dataset, options.root); });
  for (const std::string& warning : {dataset.warning(), stale_warning(trained.decision, trained.step)}) {
    if (!warning.empty() && comm.rank() == 0) options.log(LogLevel::kWarning, warning);
  }
  same_everywhere(comm, "dataset", dataset.manifest().fingerprint().hex());
  const auto warn = [&](const std::string& text) { options.log(LogLevel::kWarning, text); };
  const ComputeDevice device =
      choose_scoring_device(comm, options.device, trained.config.text_at("train", "device"), warn);
  Scorer scorer(comm, trained, dataset.contract(), device);
  const auto world = static_cast<std::uint64_t>(comm.size());
  const Work work =
      together(comm, "plan", [&] { return plan_work(options, std::move(dataset), trained, scorer, world); });

  std::unique_ptr<BlockReader> reader;
  const auto stream = together(comm, "open prediction", [&] {
    reader = make_contract_check_reader(
        work.dataset.make_reader(),
        fields_to_check(work.dataset.contract(), trained.contract, scorer.pipeline()), work.index,
        work.split);
    auto plan = make_prediction_plan(work.index, work.split, work.micro_batch, work.run,
                                     static_cast<std::uint32_t>(comm.rank()),
                                     static_cast<std::uint32_t>(comm.size()));
    return std::make_unique<BatchStream>(std::move(plan), *reader, work.dataset.contract(), scorer.pipeline(),
                                         stream_options(trained.config));
  });
  std::optional<PredictionFile> file;
  together(comm, "open output", [&] {
    if (comm.rank() == 0) file.emplace(files, options, work, scorer);
    return 0;
  });
  for (std::uint64_t round = 0; round < work.rounds; ++round) {
    std::vector<std::vector<std::byte>> to(world);
    to[0] = together(comm, "score", [&] { return score_round(*stream, scorer, work.run); });
    const auto scores = comm.all_to_all("scores", to);
    together(comm, "write predictions", [&] {
      for (const auto& of_rank : scores) {
        if (file) file->append(floats_of(of_rank));
      }
      return 0;
    });
    if (file && options.progress) options.progress(file->done(), work.rows);
  }
  together(comm, "close predictions", [&] {
    if (!file) return 0;
    ensure(file->done() == work.rows, "predicted {} rows of {}", file->done(), work.rows);
    file->close();
    return 0;
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return {{"checkpoint", options.checkpoint.string()},
          {"step", trained.step},
          {"decision", trained.decision.to_json()},
          {"split", options.split},
          {"rows", work.rows},
          {"rows_left_out", work.left_out},
          {"out", options.out.string()},
          {"seconds", seconds.count()}};
}

}  // namespace muster
