#include "data_loader/ingest/csv_reader.h"

#include <utility>

namespace muster {

CsvReader::CsvReader(Read read, CsvDialect dialect) : records_(std::move(read), dialect), fields_(dialect) {}

bool CsvReader::next() {
  if (!records_.next()) return false;
  if (records_.fault().empty()) {
    fields_.split(records_.record());
  } else {
    fields_.refuse(records_.fault());
  }
  return true;
}

}  // namespace muster
