#pragma once
// Delimited text read one byte after the other by an automaton: what CsvReader must do, without its speed.

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data_loader/ingest/csv_records.h"

namespace muster::testing {

struct CsvSeen {
  std::uint64_t line;
  std::vector<std::string> fields;  ///< none where there is a fault
  std::string fault;
  bool lost_the_rest;
  bool operator==(const CsvSeen&) const = default;
};

class CsvReference {
 public:
  CsvReference(std::string_view text, CsvDialect dialect) : text_(text), dialect_(dialect) {}

  std::vector<CsvSeen> read() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    while (at_ < text_.size()) {
      const std::size_t start = at_;
      now_ = {line_, {}, "", false};
      state_ = State::kStart;
      field_.clear();
      while (at_ < text_.size() && step(text_[at_])) ++at_;
      const bool empty = at_ == start;
      end_line();
      if (empty) continue;
      end_record();
      seen_.push_back(now_);
    }
    return seen_;
  }

 private:
  enum class State { kStart, kPlain, kQuoted, kClosed };

  /// Takes a byte of the record; false at its end.
  bool step(char c) {
    if (state_ == State::kQuoted) {
      line_ += c == '\n' ? 1 : 0;
      if (c == dialect_.quote) {
        state_ = State::kClosed;
      } else {
        field_ += c;
      }
      return true;
    }
    if (state_ == State::kClosed && c == dialect_.quote && !behind_) {
      field_ += c;  // it was doubled
      state_ = State::kQuoted;
      return true;
    }
    if (c == '\n' || c == '\r') return false;
    if (c == dialect_.delimiter) {
      end_field();
      return true;
    }
    if (state_ == State::kClosed) {
      if (now_.fault.empty())
        now_.fault = fmt::format("field {} goes on after its closing quote", now_.fields.size() + 1);
      behind_ = true;
    } else if (state_ == State::kStart && c == dialect_.quote) {
      state_ = State::kQuoted;
      return true;
    } else {
      state_ = State::kPlain;
      field_ += c;
    }
    return true;
  }

  void end_field() {
    now_.fields.push_back(field_);
    field_.clear();
    state_ = State::kStart;
    behind_ = false;
  }

  void end_record() {
    now_.lost_the_rest = state_ == State::kQuoted;
    if (now_.lost_the_rest && now_.fault.empty())
      now_.fault = fmt::format("the quote that field {} starts with is never closed", now_.fields.size() + 1);
    end_field();
    if (!now_.fault.empty()) now_.fields.clear();
  }

  void end_line() {
    if (at_ == text_.size()) return;
    if (text_[at_] == '\r' && text_.substr(at_ + 1).starts_with('\n')) ++at_;
    ++at_;
    ++line_;
  }

  std::string_view text_;
  CsvDialect dialect_;
  std::size_t at_ = 0;
  std::uint64_t line_ = 1;
  State state_ = State::kStart;
  bool behind_ = false;  ///< something stands between a closing quote and the field's end
  std::string field_;
  CsvSeen now_;
  std::vector<CsvSeen> seen_;
};

}  // namespace muster::testing
