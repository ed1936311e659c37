// Ingest format "text": a file's bytes, characters or vocabulary entries, one token per row.
#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "core/text.h"
#include "data_loader/ingest/gzip_file.h"
#include "data_loader/ingest/ingest.h"
#include "data_loader/ingest/line_reader.h"
#include "data_loader/ingest/text_pieces.h"
#include "data_loader/ingest/text_tokenizer.h"

namespace muster {
namespace {

constexpr std::uint64_t kLongestEntry = 1024;  // bytes

std::int64_t greatest_of(DType dtype) {
  return visit(dtype, []<typename T>(T*) {
    return sizeof(T) < 8 && std::is_integral_v<T> ? static_cast<std::int64_t>(std::numeric_limits<T>::max())
                                                  : std::numeric_limits<std::int64_t>::max();
  });
}

/// An entry as its line says it: \n, \r, \t and \\ stand for what a line cannot hold.
std::string unescaped(std::string_view line, const std::string& where) {
  static const std::map<char, char> escapes = {{'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'\\', '\\'}};
  std::string entry;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\') {
      entry += line[i];
      continue;
    }
    const auto found = ++i < line.size() ? escapes.find(line[i]) : escapes.end();
    if (found == escapes.end())
      throw Error(ErrorCode::kData, R"(after a backslash comes n, r, t or another backslash (\\))", where);
    entry += found->second;
  }
  return entry;
}

/// One entry a line.
std::vector<std::string> read_vocabulary(const std::filesystem::path& path) {
  GzipFile file(path);
  LineReader lines([&](std::span<std::byte> out) { return file.read(out); });
  std::vector<std::string> entries;
  std::map<std::string, std::uint64_t> seen;
  while (const auto line = lines.next()) {
    const std::string where = fmt::format("{}:{}", path.string(), lines.line());
    const auto refuse = [&](const std::string& message) { throw Error(ErrorCode::kData, message, where); };
    if (line->empty()) refuse("an empty line is no entry of a vocabulary (a line break is `\\n`)");
    if (line->size() > kLongestEntry) refuse(fmt::format("an entry has at most {} bytes", kLongestEntry));
    if (utf8_prefix(*line) != line->size()) refuse(readable_text(*line) + " is no UTF-8 text");
    entries.push_back(unescaped(*line, where));
    const auto [first, is_new] = seen.emplace(entries.back(), lines.line());
    if (!is_new) refuse(fmt::format("{} is on line {} already", readable_text(*line), first->second));
  }
  if (entries.empty()) throw Error(ErrorCode::kData, "has no entry", path.string());
  return entries;
}

/// One entry of the spec's sources.
struct TextSpec {
  std::filesystem::path file;
  TextPieces::Encoding encoding;
  Field field;
  std::unique_ptr<TextTokenizer> tokenizer;
};

Field text_field(const YamlNode& node, const std::vector<Field>& fields) {
  const YamlNode* name = node.find("field");
  if (name == nullptr && fields.size() != 1)
    node.fail_here("`field: …` says which of the contract's fields the text is");
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.name);
  const std::string wanted = name == nullptr ? names.front() : name->as_string();
  const auto found = std::ranges::find(names, wanted);
  const YamlNode& at = name == nullptr ? node : *name;
  if (found == names.end())
    at.fail_here(fmt::format("the contract has no field '{}'{}", wanted, did_you_mean(wanted, names)));
  const Field& field = fields[static_cast<std::size_t>(found - names.begin())];
  if (is_float(field.dtype) || field.is_text() || !field.shape.empty())
    at.fail_here(fmt::format("'{}' must be one integer per row, or windows of them, to hold tokens", wanted));
  return field;
}

std::unique_ptr<TextTokenizer> parse_vocabulary(const YamlNode& node, const Field& field,
                                                const std::filesystem::path& base) {
  const YamlNode& file = node.require("vocabulary");
  std::optional<std::int64_t> id;
  const YamlNode* unknown = node.find("unknown");
  if (unknown != nullptr) id = static_cast<std::int64_t>(unknown->as_unsigned());
  const std::int64_t most = greatest_of(field.dtype);
  if (id && (*id < 0 || *id > most))
    unknown->fail_here(fmt::format("does not fit in {}", to_string(field.dtype)));
  std::vector<std::string> entries = read_vocabulary(base / file.as_string());
  if (static_cast<std::int64_t>(entries.size()) - 1 > most)
    file.fail_here(fmt::format("has {} entries, more than {} can tell apart", human_count(entries.size()),
                               to_string(field.dtype)));
  return make_vocabulary_tokenizer(std::move(entries), id);
}

TextSpec parse_spec(const YamlNode& node, const IngestContext& context) {
  TextSpec spec;
  spec.file = context.file;
  spec.field = text_field(node, context.fields);
  const YamlNode* unit_node = node.find("unit");
  const std::string unit = unit_node == nullptr ? "characters" : unit_node->as_string();
  const YamlNode* encoding = node.find("encoding");
  if (encoding != nullptr && unit == "bytes")
    encoding->fail_here("bytes are taken as they are, of any encoding");
  if (encoding != nullptr && encoding->as_string() != "utf-8")
    spec.encoding = {TextPieces::Encoding::Kind::kOther, encoding->as_string()};
  if (encoding != nullptr && spec.encoding.kind == TextPieces::Encoding::Kind::kOther) {
    const auto known = attempt([&] { return TextEncoding(spec.encoding.name).to_utf8(""); });
    if (!known) encoding->fail_here(known.error().message());
  }
  if (unit == "bytes") {
    spec.encoding.kind = TextPieces::Encoding::Kind::kBytes;
    spec.tokenizer = make_byte_tokenizer();
    if (greatest_of(spec.field.dtype) < 255)
      node.fail_here(fmt::format("bytes go up to 255, beyond {}: make '{}' uint8",
                                 to_string(spec.field.dtype), spec.field.name));
  } else if (unit == "characters") {
    spec.tokenizer = make_character_tokenizer(greatest_of(spec.field.dtype));
  } else if (unit == "vocabulary") {
    spec.tokenizer = parse_vocabulary(node, spec.field, context.base);
  } else {
    unit_node->fail_here(fmt::format("there is no unit '{}'; known: bytes, characters, vocabulary", unit));
  }
  node.refuse_unread();  // before a long file is read
  return spec;
}

/// Reads a text twice: first to count its tokens and to find what is none, then to hand them on.
class TextSource : public RowSource {
 public:
  TextSource(const YamlNode& node, const IngestContext& context)
      : spec_(parse_spec(node, context)), fields_{spec_.field} {
    open();
    if (context.known_rows) {
      rows_ = *context.known_rows;
      return;
    }
    while (true) {
      const std::size_t count = more().size();
      if (count == 0) break;
      rows_ += count;
    }
    open();
  }

  std::uint64_t rows() const override { return rows_; }
  const std::vector<Field>& fields() const override { return fields_; }
  std::vector<std::filesystem::path> files() const override { return {spec_.file}; }

  void read(std::uint64_t rows, std::span<std::vector<std::byte>> columns) override {
    columns[0].resize(rows * spec_.field.value_bytes());
    visit(spec_.field.dtype, [&]<typename T>(T*) {
      auto* out = reinterpret_cast<T*>(columns[0].data());
      for (std::uint64_t row = 0; row < rows; ++row) out[row] = static_cast<T>(next_token());
    });
  }

 private:
  void open() {
    pieces_.emplace(spec_.file, spec_.encoding);
    position_ = {};
    text_.clear();
    at_end_ = false;
  }

  /// The next tokens; none at the end of the text.
  std::vector<std::int64_t> more() {
    while (!at_end_ || !text_.empty()) {
      if (!at_end_) {
        const std::string piece = pieces_->next();
        at_end_ = piece.empty();
        text_ += piece;
      }
      TextTokenizer::Taken taken = spec_.tokenizer->take(text_, at_end_);
      position_.advance(std::string_view(text_).substr(0, taken.bytes));
      text_.erase(0, taken.bytes);
      if (taken.tokens.empty() && !taken.fault.empty())
        throw Error(ErrorCode::kData, taken.fault,
                    fmt::format("{}:{}:{}", spec_.file.string(), position_.line, position_.column));
      if (!taken.tokens.empty()) return std::move(taken.tokens);
    }
    return {};
  }

  std::int64_t next_token() {
    while (next_ == tokens_.size()) {
      tokens_ = more();
      next_ = 0;
      if (tokens_.empty())
        throw Error(ErrorCode::kData, "has fewer tokens than a moment ago: does somebody write it?",
                    spec_.file.string());
    }
    return tokens_[next_++];
  }

  TextSpec spec_;
  std::vector<Field> fields_;
  std::uint64_t rows_ = 0;
  std::optional<TextPieces> pieces_;
  TextPosition position_;  ///< of text_'s front
  std::string text_;       ///< not cut into tokens yet
  bool at_end_ = false;
  std::vector<std::int64_t> tokens_;
  std::size_t next_ = 0;
};

const bool kRegistered =
    ingest_formats().add("text", {[](const YamlNode& source, const IngestContext& context) {
                                    return std::make_unique<TextSource>(source, context);
                                  },
                                  "a text's bytes, characters or vocabulary entries, a token a row", true});

}  // namespace
}  // namespace muster
