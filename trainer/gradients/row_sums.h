#pragma once
// Gradients of tables of which a step touches few rows: the ranks exchange those rows instead of the tables.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "trainer/comm/communicator.h"

namespace muster {

/// Some rows of a table.
struct TableRows {
  std::vector<std::int64_t> ids;  ///< ascending, each once
  std::vector<float> values;      ///< of one row after the other
};

/// One thread. All ranks have the same tables. Terms are added in rank order, whichever way they travel: the
/// same bits on every rank and every time.
class RowSums {
 public:
  struct Table {
    std::string name;
    std::size_t rows = 0;
    std::size_t width = 0;
  };

  /// Collective. `comm` outlives this; its sum buffers lie in the host's memory. `precision`: of tables that
  /// travel whole.
  RowSums(Communicator& comm, const std::vector<Table>& tables, SumPrecision precision);

  /// rows × width floats, 64-byte aligned: the sum, from the end of finish() to the next give().
  std::span<float> table(std::size_t number);
  /// This rank's terms of a step, where it has some. At most one of the two for a table.
  void give(std::size_t number, TableRows rows);
  /// The terms are what lies in table(number).
  void give_all(std::size_t number);
  /// Collective. Of tables whose ranks together have fewer rows to give than the table has, those travel; of
  /// others the whole table does.
  void finish();
  /// How often a table's rows travelled, and a whole table, so far.
  std::uint64_t by_rows() const { return by_rows_; }
  std::uint64_t whole() const { return whole_; }

 private:
  struct State {
    Table table;
    std::unique_ptr<SumBuffer> buffer;
    TableRows given;
    bool gave_all = false;
    bool by_rows = false;                  ///< how this step's sum travels
    bool all_dirty = false;                ///< what is not 0 of the last sum: everything
    std::vector<std::int64_t> dirty_rows;  ///< or these
  };
  void clear(State& state);
  void add(State& state, std::span<const std::int64_t> ids, std::span<const float> values);
  void exchange_rows(std::span<const std::uint64_t> counts);

  Communicator& comm_;
  std::vector<State> tables_;
  std::uint64_t by_rows_ = 0;
  std::uint64_t whole_ = 0;
};

}  // namespace muster
