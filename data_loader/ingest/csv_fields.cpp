#include "data_loader/ingest/csv_fields.h"

#include <fmt/format.h>

#include <utility>

namespace muster {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

CsvFields::CsvFields(CsvDialect dialect) : delimiter_(dialect.delimiter), quote_(dialect.quote) {}

void CsvFields::refuse(std::string fault) {
  fields_.clear();
  fault_ = std::move(fault);
}

bool CsvFields::split(std::string_view record) {
  fields_.clear();
  fault_.clear();
  unquoted_.clear();
  const char* at = record.data();
  const char* const end = at + record.size();
  while (true) {
    if (at != end && quote_.is(*at)) {
      at = take_quoted(at + 1, end);
      if (at == nullptr) return false;
    } else {
      const char* const stop = find_any(at, end, delimiter_);
      fields_.push_back(between(at, stop));
      at = stop;
    }
    if (at == end) return true;
    if (!delimiter_.is(*at)) {
      refuse(fmt::format("field {} goes on after its closing quote", fields_.size()));
      return false;
    }
    ++at;
  }
}

/// Takes the field whose text starts at `at`, behind its quote. Where it ends, behind the closing one;
/// nullptr if there is none.
const char* CsvFields::take_quoted(const char* at, const char* end) {
  const char* const quote = find_any(at, end, quote_);
  if (quote != end && (quote + 1 == end || !quote_.is(quote[1]))) {
    fields_.push_back(between(at, quote));
    return quote + 1;
  }
  return take_doubled(at, quote, end);
}

/// The same for a text whose first quote, at `quote`, is no closing one: of doubled quotes one is kept.
const char* CsvFields::take_doubled(const char* at, const char* quote, const char* end) {
  if (unquoted_.empty()) unquoted_.reserve(static_cast<std::size_t>(end - at));  // what points into it stays
  const std::size_t from = unquoted_.size();
  while (quote != end) {
    const bool doubled = quote + 1 != end && quote_.is(quote[1]);
    unquoted_.append(at, quote + (doubled ? 1 : 0));
    if (!doubled) {
      fields_.push_back(std::string_view(unquoted_).substr(from));
      return quote + 1;
    }
    at = quote + 2;
    quote = find_any(at, end, quote_);
  }
  refuse(fmt::format("the quote that field {} starts with is never closed", fields_.size() + 1));
  return nullptr;
}

}  // namespace muster
