#include "trainer/scoring/line_scorer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/text.h"
#include "data_loader/ingest/csv_table.h"
#include "data_loader/ingest/json_row.h"
#include "data_loader/writing/table_writer.h"
#include "trainer/scoring/prediction.h"

namespace muster {
namespace {

std::vector<Field> source_fields(const Scorer& scorer, const Contract& contract) {
  std::vector<Field> fields;
  for (const std::size_t number : scorer.pipeline().source_fields())
    fields.push_back(contract.fields()[number]);
  return fields;
}

std::vector<Field> key_fields(const Contract& contract) {
  std::vector<Field> keys;
  for (const Field& field : contract.fields()) {
    if (field.role == Role::kKey) keys.push_back(field);
  }
  return keys;
}

/// The double whose shortest text is the float's: 0.1, not 0.10000000149011612.
double short_double(float value) {
  const std::string text = fmt::format("{}", value);
  double result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

/// A row's scores as arrays nested as the shape is; of none a number.
Json nested(std::span<const float> scores, std::span<const std::uint64_t> shape) {
  if (shape.empty()) return short_double(scores[0]);
  Json list = Json::array();
  const std::size_t part = scores.size() / shape.front();
  for (std::size_t first = 0; first < scores.size(); first += part)
    list.push_back(nested(scores.subspan(first, part), shape.subspan(1)));
  return list;
}

}  // namespace

LineScorer::LineScorer(Scorer& scorer, const Contract& contract, CsvSpec csv)
    : scorer_(scorer),
      csv_(std::move(csv)),
      row_(source_fields(scorer, contract), [this](const Field& field) { return csv_.rules_of(field); }),
      batch_(scorer.pipeline().tensors(), 1, aligned_allocator()),
      keys_(key_fields(contract)),
      scores_(score_fields(scorer)) {
  batch_.set_rows(1);
  if (csv_.encoding) encoding_.emplace(*csv_.encoding);
}

/// Of the row at hand, unless it was `wrong` already; counts it.
Result<std::vector<float>> LineScorer::score(const std::string& wrong) {
  const auto refuse = [this](const std::string& why) {
    ++refused_;
    return Error(ErrorCode::kData, why);
  };
  if (!wrong.empty()) return refuse(wrong);
  if (const Field* field = row_.dropped_for(); field != nullptr) {
    ++dropped_;
    return Error(ErrorCode::kData,
                 fmt::format("'{}' is missing: the contract leaves such rows out", field->name));
  }
  Result<std::vector<float>> scores = attempt([&] {
    const FeaturePipeline::Target target{0, 0, &batch_};
    scorer_.pipeline().scatter(row_.columns(), std::span(&target, 1));
    return scorer_.score(batch_);
  });
  if (scores.ok()) {
    ++scored_;
    return scores;
  }
  if (scores.error().code() != ErrorCode::kData) throw Error(scores.error());
  return refuse(scores.error().message());  // what transforms or the model cannot take is this line's fault
}

std::string LineScorer::begin_csv(std::span<const std::string_view> header) {
  for (const Field& field : row_.fields()) {
    if (!field.shape.empty())
      fail(ErrorCode::kConfig, "'{}' is an array: a cell of CSV holds one value, JSON lines hold arrays",
           field.name);
  }
  const std::vector<std::string> names = csv_header(csv_, header);
  if (csv_.header) width_ = names.size();
  const auto column_of = [&](const Field& field) {
    const Result<std::size_t> column = attempt([&] { return csv_column(csv_, names, field.name); });
    if (!column) throw Error(ErrorCode::kData, column.error().message(), csv_.file.string());
    return column.value();
  };
  for (const Field& field : row_.fields()) cell_of_field_.push_back(column_of(field));
  std::vector<std::string> answers;
  for (const Field& key : keys_) {
    const auto given = csv_.columns.find(key.name);
    const std::string& column = given != csv_.columns.end() ? given->second : key.name;
    const bool there = std::ranges::find(names, column) != names.end();
    const bool by_number = given != csv_.columns.end() && !column.empty() &&
                           column.find_first_not_of("0123456789") == std::string::npos;
    if (!there && !by_number && (csv_.header || given == csv_.columns.end()))
      continue;  // an answer can do without a key
    cells_of_keys_.push_back(column_of(key));
    answers.push_back(csv_cell(name_beside_scores(key.name)));
  }
  for (const Field& field : scores_) {
    for (const std::string& name : csv_names(field)) answers.push_back(name);
  }
  answers.emplace_back("error");
  return join(answers, ",");
}

std::string LineScorer::csv_answer(std::span<const std::string_view> cells, std::span<const float> scores,
                                   const std::string& error) const {
  std::vector<std::string> answer;
  for (const std::size_t cell : cells_of_keys_)
    answer.push_back(cell < cells.size() ? csv_cell(cells[cell]) : "");
  const auto columns =
      scores.empty() ? std::vector<std::vector<std::byte>>(scores_.size()) : score_columns(scorer_, scores);
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    const std::uint64_t bytes = scores_[i].value_bytes();
    for (std::uint64_t k = 0; k < scores_[i].values_per_row(); ++k)
      answer.push_back(columns[i].empty() ? "" : csv_cell(scores_[i], columns[i].data() + k * bytes));
  }
  answer.push_back(csv_cell(error));
  return join(answer, ",");
}

std::string LineScorer::answer_csv(std::span<const std::string_view> cells, const std::string& fault) {
  if (!encoding_) return answer_cells(cells, fault);
  std::vector<std::string> texts;
  std::string wrong = fault;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto text = encoding_->to_utf8(cells[i]);
    const bool wanted = std::ranges::find(cell_of_field_, i) != cell_of_field_.end() ||
                        std::ranges::find(cells_of_keys_, i) != cells_of_keys_.end();
    if (!text && wanted && wrong.empty())
      wrong = fmt::format("{} is no text of the encoding", readable_text(cells[i]));
    texts.push_back(text.value_or(""));
  }
  return answer_cells(std::vector<std::string_view>(texts.begin(), texts.end()), wrong);
}

std::string LineScorer::answer_cells(std::span<const std::string_view> cells, const std::string& fault) {
  std::string wrong = fault;
  if (wrong.empty() && !width_) width_ = cells.size();  // nothing but the first record tells
  if (wrong.empty() && cells.size() != *width_)
    wrong = fmt::format("{} fields, not {}", cells.size(), *width_);
  for (const std::size_t cell : cell_of_field_) {
    if (wrong.empty() && cell >= cells.size()) wrong = fmt::format("there is no column {}", cell + 1);
  }
  if (wrong.empty()) wrong = row_.take(cells, cell_of_field_);
  const Result<std::vector<float>> scores = score(wrong);
  return scores.ok() ? csv_answer(cells, scores.value(), "")
                     : csv_answer(cells, {}, scores.error().message());
}

std::string LineScorer::answer_json(std::string_view line) {
  const Result<Json> object = parse_json_line(line);
  const Result<std::vector<float>> scored =
      score(object.ok() ? row_.take(object.value()) : object.error().message());
  Json answer = Json::object();
  for (const Field& key : keys_) {
    if (object.ok() && object.value().contains(key.name))
      answer[name_beside_scores(key.name)] = object.value().at(key.name);
  }
  if (!scored.ok()) {
    answer["error"] = scored.error().message();
    return canonical(answer);
  }
  const std::vector<float>& scores = scored.value();
  for (std::size_t target = 0; target < scorer_.targets().size(); ++target) {
    const std::string& name = scorer_.targets()[target];
    const bool number = scorer_.kind() == LossKind::kMse;
    answer[(number ? "prediction." : "probability.") + name] = short_double(scores[target]);
    if (!number) answer["predicted." + name] = decide(scorer_, std::span(scores).subspan(target, 1));
  }
  if (!scorer_.targets().empty()) return canonical(answer);
  answer[scores_[0].name] = nested(scores, scores_[0].shape);
  if (scorer_.kind() != LossKind::kMse) answer["predicted"] = decide(scorer_, scores);
  return canonical(answer);
}

}  // namespace muster
