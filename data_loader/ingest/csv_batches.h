#pragma once
// The rows of a CSV file, parsed by several threads, in the file's order.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "data_loader/ingest/csv_batch.h"
#include "data_loader/ingest/csv_row_parser.h"
#include "data_loader/ingest/csv_table.h"

namespace muster {

/// One thread at a time cuts the file into batches of records; it then parses its batch while the next thread
/// reads on. Batches in flight are bounded: threads + 2 of them, each of about 1 MiB of text (or one record)
/// and up to 4 MiB of values (or one row). Used by one thread, beside its own.
class CsvBatches {
 public:
  /// Keeps a reference to the table. Starts `threads` threads, at least one.
  CsvBatches(const CsvTable& table, unsigned threads);
  ~CsvBatches();
  CsvBatches(const CsvBatches&) = delete;
  CsvBatches& operator=(const CsvBatches&) = delete;

  /// The next batch, the caller's until the next call; nullptr at the end. What a thread cannot read (see
  /// CsvTableRecords) is thrown where its turn comes.
  CsvBatch* next();

 private:
  struct Record {
    std::size_t end;  ///< in the slot's text
    std::uint64_t line;
  };
  struct Slot {
    std::string text;  ///< the records, one after the other, without line ends
    std::vector<Record> records;
    CsvBatch batch;
    std::exception_ptr error;
    bool ready = false;
  };

  CsvBatches(const CsvTable& table, std::size_t slots, std::uint64_t most_rows);
  void work(CsvRowParser& parser);
  Slot* take();
  bool wait_for_room();
  bool fill(Slot& slot);
  void parse(Slot& slot, CsvRowParser& parser) const;

  const CsvTable& table_;
  const std::uint64_t most_rows_;  ///< of a batch

  std::mutex reading_;  ///< guards `records_` and `at_end_`; taken before `mutex_`
  CsvTableRecords records_;
  bool at_end_ = false;

  std::mutex mutex_;  ///< guards what follows. A slot is its thread's from `taken_` on until it is ready
  std::condition_variable room_;
  std::condition_variable ready_;
  std::vector<Slot> slots_;     ///< batch k is in slot k % slots
  std::uint64_t taken_ = 0;     ///< batches that threads have begun
  std::uint64_t released_ = 0;  ///< batches that the user has given back
  bool given_ = false;          ///< batch `released_` is with the user
  bool complete_ = false;       ///< no batch comes after those taken
  bool stopping_ = false;
  std::vector<CsvRowParser> parsers_;  ///< one per thread
  std::vector<std::jthread> threads_;  ///< last: joined before anything else goes
};

}  // namespace muster
