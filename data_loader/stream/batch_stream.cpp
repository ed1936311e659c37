#include "data_loader/stream/batch_stream.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "data_loader/features/column_buffer.h"

namespace muster {

namespace {

constexpr std::size_t kTile = 256;  // rows placed at a time
constexpr auto kStopInterval = std::chrono::milliseconds(100);

}  // namespace

/// The ring and who waits for whom. Batch k lives in slot k % ring from the moment batch k - ring is released
/// until it is released itself. Threads write rows of a slot without the lock: a batch is read only when its
/// last row is in, and counting rows in happens under the lock.
struct BatchStream::State {
  struct Slot {
    Batch batch;
    std::uint32_t pending = 0;  ///< rows still to come
  };
  /// What one thread works with, made once.
  struct Worker {
    ColumnBuffer block;
    std::vector<std::uint32_t> arrived;  ///< rows of the task at hand, per slot
  };

  /// Bad rows, and the first batch that has some of them.
  struct Fault {
    std::uint64_t batch;
    BadRows rows;
  };

  State(std::unique_ptr<BatchPlan> the_plan, BlockReader& the_reader, const Contract& the_contract,
        const FeaturePipeline& the_pipeline, const StreamMemory& the_memory, const StreamOptions& options)
      : policy(options.on_bad_rows),
        quarantine(options.quarantine),
        plan(std::move(the_plan)),
        reader(the_reader),
        contract(the_contract),
        pipeline(the_pipeline),
        memory(the_memory) {}
  ~State() { stop(nullptr); }

  void prepare(std::uint64_t batch);
  void release_given();
  bool has_answer() const;
  bool wait(const std::function<bool()>& stop);
  const Batch* next();
  const Batch* ahead();
  void work();
  std::optional<BlockTask> take_task();
  std::optional<std::uint64_t> wait_for_room(const BlockTask& task);
  bool read_or_note(const BlockTask& task, Worker& worker);
  void place(const BlockTask& task, std::uint64_t first, bool readable, Worker& worker);
  void scatter(const BlockTask& task, std::span<const RowPlace> places,
               std::span<const FeaturePipeline::Target> targets, const Worker& worker);
  void note(const BlockTask& task, std::span<const RowPlace> places, BadRows rows);
  void pass_over(Batch& batch);
  void arrive(Worker& worker);
  Error located(const BlockTask& task, const BadValue& bad) const;
  void stop(std::exception_ptr why) noexcept;

  const BadRowPolicy policy;
  const Quarantine* const quarantine;
  const std::unique_ptr<BatchPlan> plan;
  BlockReader& reader;
  const Contract& contract;
  const FeaturePipeline& pipeline;
  const StreamMemory memory;
  // Of the consumer's thread.
  double waited = 0;
  std::vector<BadRows> found;
  std::uint64_t dropped = 0;

  std::mutex plan_mutex;  // guards plan->next_task(); never held together with `mutex`
  std::mutex mutex;       // guards all that follows, but for rows of batches
  std::condition_variable room;
  std::condition_variable ready;
  std::vector<Slot> slots;
  std::uint64_t released = 0;  // batches that the consumer has given back
  bool given = false;          // batch `released` is with the consumer
  bool stopping = false;
  unsigned working = 0;
  std::exception_ptr error;
  std::vector<Fault> faults;          // that no batch given so far has
  std::vector<std::jthread> threads;  // last: joined before anything else goes
};

/// Makes the slot of a batch ready for its rows.
void BatchStream::State::prepare(std::uint64_t batch) {
  if (batch >= plan->batches()) return;
  Slot& slot = slots[batch % slots.size()];
  slot.pending = plan->rows(batch);
  slot.batch.set_lanes(plan->lane_rows(batch));
  slot.batch.step = plan->step(batch);
}

void BatchStream::State::release_given() {
  if (!given) return;
  given = false;
  prepare(released + slots.size());
  ++released;
  room.notify_all();
}

/// Under the lock. The batch wanted is whole, or never will be.
bool BatchStream::State::has_answer() const {
  return error != nullptr || working == 0 || released == plan->batches() ||
         slots[released % slots.size()].pending == 0;
}

/// `stop` may be empty.
bool BatchStream::State::wait(const std::function<bool()>& stop) {
  std::unique_lock lock(mutex);
  release_given();
  if (has_answer()) return true;
  const auto start = std::chrono::steady_clock::now();
  const auto answered = [&] { return has_answer(); };
  bool stopped = false;
  if (!stop) ready.wait(lock, answered);
  while (stop && !stopped && !ready.wait_for(lock, kStopInterval, answered)) {
    lock.unlock();
    stopped = stop();
    lock.lock();
  }
  waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return has_answer();
}

const Batch* BatchStream::State::next() {
  wait({});
  const std::lock_guard lock(mutex);
  if (error) std::rethrow_exception(error);
  if (released == plan->batches()) return nullptr;
  Slot& slot = slots[released % slots.size()];
  ensure(slot.pending == 0, "the plan ended with {} rows of batch {} still to come", slot.pending, released);
  given = true;
  if (policy != BadRowPolicy::kRefuse) pass_over(slot.batch);
  return &slot.batch;
}

const Batch* BatchStream::State::ahead() {
  const std::lock_guard lock(mutex);
  const std::uint64_t number = released + (given ? 1 : 0);
  if (error || number >= plan->batches() || (given && slots.size() < 2)) return nullptr;
  const Slot& slot = slots[number % slots.size()];
  return slot.pending == 0 ? &slot.batch : nullptr;
}

/// What follows for the batch from its own bad rows, and from those that the ranks have agreed on.
void BatchStream::State::pass_over(Batch& batch) {
  found.clear();
  dropped = 0;
  std::erase_if(faults, [&](Fault& fault) {
    const bool now = fault.batch <= released;
    if (now) found.push_back(std::move(fault.rows));
    return now;
  });
  // Threads note them as they come.
  std::ranges::sort(found, {}, [](const BadRows& bad) { return std::pair(bad.partition, bad.first_row); });
  if (!quarantine->empty()) {
    for (std::size_t row = 0; row < batch.rows(); ++row) {
      const RowId id = batch.ids()[row];
      if (batch.bad()[row] != 0 || !quarantine->contains(id.partition, id.row)) continue;
      batch.clear_row(row);
      ++batch.edits;
    }
  }
  if (policy != BadRowPolicy::kDrop) return;
  const std::size_t before = batch.rows();
  batch.drop_bad_rows();
  dropped = before - batch.rows();
  batch.edits += dropped;
}

void BatchStream::State::stop(std::exception_ptr why) noexcept {
  const std::lock_guard lock(mutex);
  if (!error) error = std::move(why);
  stopping = true;
  room.notify_all();
  ready.notify_all();
}

void BatchStream::State::work() {
  try {
    Worker worker{ColumnBuffer(pipeline, contract, most_rows(reader.blocks())),
                  std::vector<std::uint32_t>(slots.size())};
    while (const auto task = take_task()) {
      const auto first = wait_for_room(*task);
      if (!first) break;
      const bool readable = read_or_note(*task, worker);
      place(*task, *first, readable, worker);
      arrive(worker);
    }
  } catch (...) {
    stop(std::current_exception());
  }
  const std::lock_guard lock(mutex);
  if (--working == 0) ready.notify_all();
}

std::optional<BlockTask> BatchStream::State::take_task() {
  const std::lock_guard lock(plan_mutex);
  return plan->next_task();
}

/// Waits until every batch of the task has its slot; gives the first batch that has one, or nothing to stop.
std::optional<std::uint64_t> BatchStream::State::wait_for_room(const BlockTask& task) {
  std::unique_lock lock(mutex);
  room.wait(lock, [&] { return stopping || task.last_batch < released + slots.size(); });
  if (stopping) return std::nullopt;
  return released;
}

/// False if the block cannot be read: what was wrong with it is noted.
bool BatchStream::State::read_or_note(const BlockTask& task, Worker& worker) {
  if (policy == BadRowPolicy::kRefuse) {
    worker.block.read(reader, task.block);
    return true;
  }
  const Block& block = reader.blocks().at(task.block);
  if (quarantine->covers(block.partition, block.first_row, block.rows)) return false;
  for (bool again : {true, false}) {
    try {
      worker.block.read(reader, task.block);
      return true;
    } catch (const Error& why) {
      if (why.code() != ErrorCode::kData && why.code() != ErrorCode::kStorage) throw;
      if (!again) note(task, task.places, {block.partition, block.first_row, block.rows, why.what()});
    }
  }
  return false;
}

void BatchStream::State::note(const BlockTask& task, std::span<const RowPlace> places, BadRows rows) {
  std::uint64_t batch = task.last_batch;
  for (const RowPlace& place : places) batch = std::min(batch, place.batch);
  const std::lock_guard lock(mutex);
  faults.push_back({batch, std::move(rows)});
}

void BatchStream::State::place(const BlockTask& task, std::uint64_t first, bool readable, Worker& worker) {
  const Block& block = reader.blocks()[task.block];
  const std::uint64_t first_slot = first % slots.size();
  std::array<FeaturePipeline::Target, kTile> targets;
  for (std::size_t done = 0; done < task.places.size();) {
    const std::size_t count = std::min(kTile, task.places.size() - done);
    for (std::size_t i = 0; i < count; ++i) {
      const RowPlace& place = task.places[done + i];
      ensure(place.batch >= first && place.batch <= task.last_batch && place.row_in_block < block.rows,
             "the plan puts row {} of block {} into batch {}", place.row_in_block, task.block, place.batch);
      std::uint64_t number = first_slot + (place.batch - first);
      if (number >= slots.size()) number -= slots.size();
      Batch& batch = slots[number].batch;
      ensure(place.row_in_batch < batch.rows(), "the plan puts a row at {} of a batch of {}",
             place.row_in_batch, batch.rows());
      batch.ids()[place.row_in_batch] = {block.partition, block.first_row + place.row_in_block};
      batch.positions()[place.row_in_batch] = place.position;
      batch.bad()[place.row_in_batch] = 0;
      if (!readable) batch.clear_row(place.row_in_batch);
      targets[i] = {place.row_in_block, place.row_in_batch, &batch};
      ++worker.arrived[number];
    }
    if (readable) scatter(task, std::span(task.places).subspan(done, count), {targets.data(), count}, worker);
    done += count;
  }
}

/// Of readable rows. One that the pipeline cannot take is found by taking them one by one.
void BatchStream::State::scatter(const BlockTask& task, std::span<const RowPlace> places,
                                 std::span<const FeaturePipeline::Target> targets, const Worker& worker) {
  try {
    pipeline.scatter(worker.block.columns(), targets);
    return;
  } catch (const BadValue& bad) {
    if (policy == BadRowPolicy::kRefuse || bad.code() != ErrorCode::kData) throw Error(located(task, bad));
  }
  const Block& block = reader.blocks()[task.block];
  for (std::size_t i = 0; i < targets.size(); ++i) {
    try {
      pipeline.scatter(worker.block.columns(), targets.subspan(i, 1));
    } catch (const BadValue& bad) {
      const std::uint64_t row = block.first_row + places[i].row_in_block;
      if (!quarantine->contains(block.partition, row))
        note(task, places.subspan(i, 1), {block.partition, row, 1, located(task, bad).what()});
      targets[i].batch->clear_row(targets[i].row_in_batch);
    }
  }
}

void BatchStream::State::arrive(Worker& worker) {
  const std::lock_guard lock(mutex);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    ensure(worker.arrived[i] <= slots[i].pending, "the plan puts two rows in one place of a batch");
    slots[i].pending -= worker.arrived[i];
    worker.arrived[i] = 0;
  }
  if (slots[released % slots.size()].pending == 0) ready.notify_one();
}

Error BatchStream::State::located(const BlockTask& task, const BadValue& bad) const {
  const Block& block = reader.blocks()[task.block];
  return {bad.code(), bad.message(),
          fmt::format("{}:{}[{}]", reader.partition_name(block.partition), contract.fields()[bad.field].path,
                      block.first_row + bad.row_in_block)};
}

BatchStream::BatchStream(std::unique_ptr<BatchPlan> plan, BlockReader& reader, const Contract& contract,
                         const FeaturePipeline& pipeline, const StreamOptions& options,
                         const BufferAllocator& allocator) {
  ensure(options.on_bad_rows == BadRowPolicy::kRefuse || options.quarantine != nullptr,
         "bad rows that are not refused need a quarantine");
  const StreamMemory memory = plan_memory(*plan, pipeline, contract, reader.blocks(), options);
  const std::size_t capacity = plan->max_rows();
  state_ = std::make_unique<State>(std::move(plan), reader, contract, pipeline, memory, options);
  State& state = *state_;
  state.slots.reserve(memory.ring_batches);
  for (std::uint64_t i = 0; i < memory.ring_batches; ++i) {
    state.slots.push_back({Batch(pipeline.tensors(), capacity, allocator)});
    state.prepare(i);
  }
  const std::lock_guard lock(state.mutex);
  for (unsigned i = 0; i < options.threads; ++i) {
    state.threads.emplace_back([&state] { state.work(); });
    ++state.working;
  }
}

BatchStream::~BatchStream() = default;

const Batch* BatchStream::next() { return state_->next(); }
const Batch* BatchStream::ahead() { return state_->ahead(); }
bool BatchStream::stop_reading(std::chrono::milliseconds patience) {
  state_->stop(nullptr);
  std::unique_lock lock(state_->mutex);
  return state_->ready.wait_for(lock, patience, [&] { return state_->working == 0; });
}
bool BatchStream::wait(const std::function<bool()>& stop) { return state_->wait(stop); }
const std::vector<BadRows>& BatchStream::found() const { return state_->found; }
std::uint64_t BatchStream::dropped() const { return state_->dropped; }
double BatchStream::wait_seconds() const { return state_->waited; }
const StreamMemory& BatchStream::memory() const { return state_->memory; }

}  // namespace muster
