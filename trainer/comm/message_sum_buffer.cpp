#include "trainer/comm/message_sum_buffer.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "data_loader/contract/batch.h"
#include "trainer/comm/bfloat16.h"
#include "trainer/comm/mpi_pending_reduce.h"
#include "trainer/comm/sum_slices.h"

namespace muster {
namespace {

using Progress = SharedSum::Progress;

/// Items of one type, aligned to 64 bytes.
template <typename T>
class Items {
 public:
  explicit Items(std::size_t count)
      : memory_(aligned_allocator()(std::max<std::size_t>(1, count) * sizeof(T))),
        items_(reinterpret_cast<T*>(memory_.get()), count) {
    std::ranges::fill(items_, T());
  }
  std::span<T> all() const { return items_; }

 private:
  std::shared_ptr<std::byte> memory_;
  std::span<T> items_;
};

/// What a sum by messages does with what it sends: floats go as they lie there.
class FloatWire {
 public:
  using Item = float;
  explicit FloatWire(std::span<float> values) : values_(values) {}
  std::span<float> items() const { return values_; }
  static void load(std::span<const float> items, float* to) { std::ranges::copy(items, to); }
  static void add(std::span<const float> items, float* to) {
    for (std::size_t i = 0; i < items.size(); ++i) to[i] += items[i];
  }
  static void store(std::span<const float> sums, std::span<float> items) {
    std::ranges::copy(sums, items.begin());
  }
  static MPI_Datatype type() { return MPI_FLOAT; }
  static constexpr bool kCopies = false;

 private:
  std::span<float> values_;
};

/// And bfloat16 in a copy of them.
class NarrowWire {
 public:
  using Item = std::uint16_t;
  explicit NarrowWire(std::span<float> values) : copy_(values.size()) {}
  std::span<std::uint16_t> items() const { return copy_.all(); }
  static void load(std::span<const std::uint16_t> items, float* to) {
    for (std::size_t i = 0; i < items.size(); ++i) to[i] = from_bfloat16(items[i]);
  }
  static void add(std::span<const std::uint16_t> items, float* to) {
    for (std::size_t i = 0; i < items.size(); ++i) to[i] += from_bfloat16(items[i]);
  }
  static void store(std::span<const float> sums, std::span<std::uint16_t> items) {
    for (std::size_t i = 0; i < sums.size(); ++i) items[i] = to_bfloat16(sums[i]);
  }
  static MPI_Datatype type() { return MPI_UINT16_T; }
  static constexpr bool kCopies = true;

 private:
  Items<std::uint16_t> copy_;
};

/// One rank's side. Moved by any thread, one at a time.
template <typename Wire>
class MessageSum {
 public:
  MessageSum(MpiEngine& engine, std::size_t count)
      : engine_(engine),
        rank_(static_cast<std::size_t>(engine.rank())),
        ranks_(static_cast<std::size_t>(engine.size())),
        values_(count),
        wire_(values_.all()),
        slice_(slice_of(wire_.items(), rank_, ranks_)),
        terms_(slice_.size() * (ranks_ - 1)) {}

  std::span<float> values() const { return values_.all(); }

  void start() {
    const std::lock_guard turn(turn_);
    ensure(stage_ == Stage::kIdle, "a sum was started before the one before it was done");
    stage_ = Stage::kNarrowing;
    next_ = 0;
  }

  Progress advance(MpiOperation& operation) {
    const std::unique_lock turn(turn_, std::try_to_lock);
    if (!turn) return Progress::kWaiting;
    switch (stage_) {
      case Stage::kNarrowing:
        if (Wire::kCopies && !convert_piece([](auto floats, auto items) { Wire::store(floats, items); }))
          return Progress::kWorked;
        exchange_terms(operation);
        return go_to(Stage::kScattering);
      case Stage::kScattering:
        return engine_.test_requests(operation) ? go_to(Stage::kAdding) : Progress::kWaiting;
      case Stage::kAdding:
        if (!add_piece()) return Progress::kWorked;
        exchange_sums(operation);
        return go_to(Stage::kGathering);
      case Stage::kGathering:
        return engine_.test_requests(operation) ? go_to(Stage::kWidening) : Progress::kWaiting;
      case Stage::kWidening:
        if (Wire::kCopies &&
            !convert_piece([](auto floats, auto items) { Wire::load(items, floats.data()); }))
          return Progress::kWorked;
        stage_ = Stage::kIdle;
        return Progress::kDone;
      case Stage::kIdle:
        return Progress::kDone;
    }
    return Progress::kDone;
  }

 private:
  enum class Stage { kIdle, kNarrowing, kScattering, kAdding, kGathering, kWidening };
  using Item = typename Wire::Item;  // NOLINT(readability-redundant-typename): clang 14 wants it

  Progress go_to(Stage stage) {
    stage_ = stage;
    next_ = 0;
    return Progress::kWorked;
  }

  /// Where the terms of another rank come.
  std::span<Item> terms_of(std::size_t rank) const {
    return terms_.all().subspan((rank < rank_ ? rank : rank - 1) * slice_.size(), slice_.size());
  }

  /// A tag of its own for each sum that can be under way: they overtake each other.
  static int tag(const MpiOperation& operation, int phase) {
    constexpr std::uint64_t kUnderWay = 8192;  // MPI promises tags up to 32,767
    return 1 + 2 * static_cast<int>(operation.sequence % kUnderWay) + phase;
  }

  void send(MpiOperation& operation, std::span<const Item> items, std::size_t to, int phase) {
    engine_.extend(operation, items.size(), [&](std::size_t first, int count, MPI_Request* request) {
      return MPI_Isend(items.data() + first, count, Wire::type(), static_cast<int>(to), tag(operation, phase),
                       engine_.comm(), request);
    });
  }

  void receive(MpiOperation& operation, std::span<Item> items, std::size_t from, int phase) {
    engine_.extend(operation, items.size(), [&](std::size_t first, int count, MPI_Request* request) {
      return MPI_Irecv(items.data() + first, count, Wire::type(), static_cast<int>(from),
                       tag(operation, phase), engine_.comm(), request);
    });
  }

  /// The others, from the next one on: not all to one at a time.
  template <typename Do>
  void for_others(Do&& what) const {
    for (std::size_t i = 1; i < ranks_; ++i) what((rank_ + i) % ranks_);
  }

  void exchange_terms(MpiOperation& operation) {
    operation.requests.clear();
    for_others([&](std::size_t other) { receive(operation, terms_of(other), other, 0); });
    for_others([&](std::size_t other) {
      send(operation, slice_of(std::span<const Item>(wire_.items()), other, ranks_), other, 0);
    });
  }

  void exchange_sums(MpiOperation& operation) {
    operation.requests.clear();
    for_others(
        [&](std::size_t other) { receive(operation, slice_of(wire_.items(), other, ranks_), other, 1); });
    for_others([&](std::size_t other) { send(operation, slice_, other, 1); });
  }

  /// Gives the next of the values and of what is sent to `convert`. True when there are no more.
  template <typename Convert>
  bool convert_piece(Convert&& convert) {
    const std::size_t count = std::min(kSumPiece, values().size() - next_);
    convert(values().subspan(next_, count), wire_.items().subspan(next_, count));
    next_ += count;
    return next_ == values().size();
  }

  bool add_piece() {
    std::array<float, kSumTile> sums;
    const std::size_t piece_end = std::min(slice_.size(), next_ + kSumPiece);
    while (next_ < piece_end) {
      const std::size_t count = std::min(kSumTile, piece_end - next_);
      for (std::size_t rank = 0; rank < ranks_; ++rank) {
        const std::span<const Item> terms = (rank == rank_ ? slice_ : terms_of(rank)).subspan(next_, count);
        if (rank == 0) {
          Wire::load(terms, sums.data());
        } else {
          Wire::add(terms, sums.data());
        }
      }
      Wire::store(std::span<const float>(sums).first(count), slice_.subspan(next_, count));
      next_ += count;
    }
    return next_ == slice_.size();
  }

  MpiEngine& engine_;  ///< outlives its operations, and this
  const std::size_t rank_;
  const std::size_t ranks_;
  const Items<float> values_;
  const Wire wire_;
  const std::span<Item> slice_;  ///< this rank's, of wire_
  const Items<Item> terms_;      ///< the other ranks', of slice_
  std::mutex turn_;              ///< around what follows
  Stage stage_ = Stage::kIdle;
  std::size_t next_ = 0;  ///< of the values, or of the slice: not yet done in this stage
};

template <typename Wire>
class MessageSumBuffer : public SumBuffer {
 public:
  MessageSumBuffer(std::shared_ptr<MpiEngine> engine, std::size_t count)
      : engine_(std::move(engine)), sum_(std::make_shared<MessageSum<Wire>>(*engine_, count)) {}

  std::span<float> values() override { return sum_->values(); }

  std::unique_ptr<PendingReduce> start(std::string_view name) override {
    sum_->start();
    return start_moved_sum(engine_, name,
                           [sum = sum_](MpiOperation& operation) { return sum->advance(operation); });
  }

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::shared_ptr<MessageSum<Wire>> sum_;
};

}  // namespace

std::unique_ptr<SumBuffer> make_message_sum_buffer(std::shared_ptr<MpiEngine> engine, std::size_t count,
                                                   SumPrecision precision) {
  if (precision == SumPrecision::kBfloat16)
    return std::make_unique<MessageSumBuffer<NarrowWire>>(std::move(engine), count);
  return std::make_unique<MessageSumBuffer<FloatWire>>(std::move(engine), count);
}

}  // namespace muster
