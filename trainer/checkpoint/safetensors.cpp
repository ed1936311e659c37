#include "trainer/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/json.h"

namespace muster {
namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // as the reference implementation
constexpr std::size_t kMaxDimensions = 64;
constexpr const char* kMetadata = "__metadata__";

static_assert(std::endian::native == std::endian::little, "tensor bytes are little-endian");

std::optional<std::uint64_t> element_bytes(std::string_view dtype) {
  for (const auto& [name, bytes] : {std::pair{"F32", 4U},
                                    {"F64", 8U},
                                    {"I64", 8U},
                                    {"I32", 4U},
                                    {"I16", 2U},
                                    {"I8", 1U},
                                    {"U8", 1U},
                                    {"BOOL", 1U},
                                    {"F16", 2U},
                                    {"BF16", 2U}}) {
    if (dtype == name) return bytes;
  }
  return std::nullopt;
}

/// Bytes of a tensor; nothing if the type is unknown, a dimension negative, or the product too large.
std::optional<std::uint64_t> tensor_bytes(std::string_view dtype, std::span<const std::int64_t> shape) {
  std::optional<std::uint64_t> bytes = element_bytes(dtype);
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
  }
  if (std::find(shape.begin(), shape.end(), 0) != shape.end())
    return bytes ? std::optional<std::uint64_t>(0) : bytes;
  for (const std::int64_t dimension : shape) {
    if (!bytes || *bytes > std::numeric_limits<std::int64_t>::max() / static_cast<std::uint64_t>(dimension)) {
      return std::nullopt;
    }
    *bytes *= static_cast<std::uint64_t>(dimension);
  }
  return bytes;
}

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Reads the header's JSON and knows how to complain.
class Header {
 public:
  Header(std::string_view text, const std::string& where) : where_(where) {
    // nlohmann's parser keeps the last of two equal keys; a file with two tensors of one name is refused
    // instead.
    std::vector<std::set<std::string>> keys;
    const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& value) {
      if (depth > 8) refuse("the header is nested too deeply");
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end) keys.pop_back();
      if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
        refuse("the header names '{}' twice", value.get<std::string>());
      }
      return true;
    };
    if (text.empty() || text.front() != '{') refuse("the header does not start with '{{'");
    try {
      json_ = Json::parse(text, watch);
    } catch (const Json::exception&) {
      refuse("the header is not JSON");
    }
  }

  std::vector<Entry> entries() const {
    std::vector<Entry> result;
    for (const auto& [name, value] : json_.items()) {
      if (name == kMetadata) {
        check_metadata(value);
      } else {
        result.push_back(entry(name, value));
      }
    }
    std::sort(result.begin(), result.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    return result;
  }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(ErrorCode::kStorage,
                "is not a safetensors file: " + fmt::format(format, std::forward<Args>(args)...), where_);
  }

 private:
  void check_metadata(const Json& value) const {
    if (!value.is_object()) refuse("__metadata__ is not an object");
    for (const auto& item : value) {
      if (!item.is_string()) refuse("__metadata__ holds something else than text");
    }
  }

  Entry entry(const std::string& name, const Json& value) const {
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
      refuse("tensor '{}' has not just dtype, shape and data_offsets", name);
    }
    const Json& dtype = value["dtype"];
    const Json& shape = value["shape"];
    const Json& offsets = value["data_offsets"];
    if (!dtype.is_string() || !element_bytes(dtype.get<std::string>()))
      refuse("tensor '{}' has an unknown dtype", name);
    Entry result{name, dtype.get<std::string>(), {}, 0, 0};
    if (!shape.is_array() || shape.size() > kMaxDimensions) refuse("tensor '{}' has no proper shape", name);
    for (const Json& dimension : shape) {
      result.shape.push_back(static_cast<std::int64_t>(number(name, dimension)));
    }
    if (!offsets.is_array() || offsets.size() != 2) refuse("tensor '{}' has no proper data_offsets", name);
    result.begin = number(name, offsets[0]);
    result.end = number(name, offsets[1]);
    const auto bytes = tensor_bytes(result.dtype, result.shape);
    if (!bytes || result.end < result.begin || result.end - result.begin != *bytes) {
      refuse("tensor '{}' has data_offsets that do not fit its dtype and shape", name);
    }
    return result;
  }

  std::uint64_t number(const std::string& name, const Json& value) const {
    if (!value.is_number_unsigned() ||
        value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
      refuse("tensor '{}' has a dimension or offset that is no whole number", name);
    }
    return value.get<std::uint64_t>();
  }

  const std::string& where_;
  Json json_;
};

/// Wide types first, so that every tensor lies at a multiple of its element's size: readers map them as they
/// are.
std::vector<const TensorBlob*> aligned_order(std::span<const TensorBlob> tensors) {
  std::vector<const TensorBlob*> order;
  for (const TensorBlob& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const TensorBlob* a, const TensorBlob* b) {
    return element_bytes(a->dtype).value_or(0) > element_bytes(b->dtype).value_or(0);
  });
  return order;
}

std::string header_text(std::span<const TensorBlob* const> tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::uint64_t offset = 0;
  for (const TensorBlob* const pointer : tensors) {
    const TensorBlob& tensor = *pointer;
    const auto bytes = tensor_bytes(tensor.dtype, tensor.shape);
    ensure(bytes && *bytes == tensor.data.size(),
           "tensor '{}' of type {} has {} bytes, which do not fit its shape", tensor.name, tensor.dtype,
           tensor.data.size());
    ensure(tensor.name != kMetadata && !header.contains(tensor.name), "two tensors are named '{}'",
           tensor.name);
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string text = canonical(header);
  const std::size_t end = kLengthBytes + text.size();
  text.append((kAlignment - end % kAlignment) % kAlignment, ' ');  // the format allows trailing spaces
  return text;
}

}  // namespace

void write_safetensors(WritableFile& file, std::span<const TensorBlob> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<const TensorBlob*> order = aligned_order(tensors);
  const std::string header = header_text(order, metadata);
  const std::uint64_t length = header.size();
  file.append(std::as_bytes(std::span(&length, 1)));
  file.append(header);
  for (const TensorBlob* const tensor : order) file.append(std::span<const std::byte>(tensor->data));
}

std::vector<TensorBlob> parse_safetensors(std::span<const std::byte> bytes, const std::string& where) {
  std::uint64_t length = 0;
  if (bytes.size() >= kLengthBytes) std::memcpy(&length, bytes.data(), kLengthBytes);
  if (bytes.size() < kLengthBytes || length > kMaxHeaderBytes || length > bytes.size() - kLengthBytes) {
    throw Error(ErrorCode::kStorage, "is not a safetensors file, or is cut short: the header does not fit",
                where);
  }
  const auto text = bytes.subspan(kLengthBytes, length);
  const auto data = bytes.subspan(kLengthBytes + length);
  const Header header({reinterpret_cast<const char*>(text.data()), text.size()}, where);
  std::vector<TensorBlob> result;
  std::uint64_t position = 0;
  for (Entry& entry : header.entries()) {
    if (entry.begin != position)
      header.refuse("tensor '{}' does not begin where the one before it ends", entry.name);
    if (entry.end > data.size()) header.refuse("the data of tensor '{}' is cut short", entry.name);
    const auto part = data.subspan(entry.begin, entry.end - entry.begin);
    result.push_back(
        {std::move(entry.name), std::move(entry.dtype), std::move(entry.shape), {part.begin(), part.end()}});
    position = entry.end;
  }
  if (position != data.size()) header.refuse("{} bytes follow the last tensor", data.size() - position);
  return result;
}

}  // namespace muster
