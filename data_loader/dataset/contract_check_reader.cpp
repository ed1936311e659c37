#include "data_loader/dataset/contract_check_reader.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "data_loader/dataset/column_check.h"

namespace muster {
namespace {

class ContractCheckReader : public BlockReader {
 public:
  ContractCheckReader(std::unique_ptr<BlockReader> reader, std::vector<CheckedField> fields,
                      const RowIndex& index, std::uint8_t split)
      : reader_(std::move(reader)), index_(index), split_(split) {
    for (CheckedField& field : fields) rules_.emplace(field.number, std::move(field.rules));
  }

  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    reader_->read(block, field, out);
    const auto rules = rules_.find(field);
    if (rules == rules_.end()) return;
    const std::vector<std::uint32_t> rows = index_.rows_of(split_, block);
    for (std::size_t first = 0; first < rows.size();) {
      std::size_t end = first + 1;
      while (end < rows.size() && rows[end] == rows[end - 1] + 1) ++end;
      check(block, rules->second, rows[first], end - first, out);
      first = end;
    }
  }

  const std::vector<Block>& blocks() const override { return reader_->blocks(); }
  std::string partition_name(std::uint32_t partition) const override {
    return reader_->partition_name(partition);
  }

 private:
  void check(std::uint32_t block, const Field& rules, std::uint64_t first, std::uint64_t rows,
             std::span<const std::byte> column) const {
    const Block& place = reader_->blocks().at(block);
    FaultList faults(1);
    const std::uint64_t bytes = rules.bytes_per_row();
    check_column(rules, column.subspan(first * bytes, rows * bytes), place.first_row + first,
                 reader_->partition_name(place.partition), faults);
    if (faults.empty()) return;
    const Error& found = faults.kept().front();
    throw Error(ErrorCode::kData, found.message() + "; so says the checkpoint's contract", found.where());
  }

  std::unique_ptr<BlockReader> reader_;
  std::map<std::size_t, Field> rules_;
  const RowIndex& index_;
  const std::uint8_t split_;
};

}  // namespace

std::unique_ptr<BlockReader> make_contract_check_reader(std::unique_ptr<BlockReader> reader,
                                                        std::vector<CheckedField> fields,
                                                        const RowIndex& index, std::uint8_t split) {
  return std::make_unique<ContractCheckReader>(std::move(reader), std::move(fields), index, split);
}

}  // namespace muster
