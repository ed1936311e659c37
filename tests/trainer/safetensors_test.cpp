// The safetensors format: what we write is read back; anything malformed is refused with the file's name.
#include "trainer/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "core/faulty_file_system.h"

namespace muster {
namespace {

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto view = std::as_bytes(std::span(text.data(), text.size()));
  return {view.begin(), view.end()};
}

std::vector<std::byte> written(const std::vector<TensorBlob>& tensors,
                               const std::map<std::string, std::string>& metadata = {}) {
  FaultyFileSystem files;
  write_safetensors(*files.create("/file"), tensors, metadata);
  return files.read("/file");
}

/// A file with this header, padded with nothing, and so many bytes of data.
std::vector<std::byte> file_of(std::string_view header, std::size_t data) {
  std::vector<std::byte> bytes(8 + header.size() + data);
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

std::string refusal(std::span<const std::byte> bytes) {
  try {
    parse_safetensors(bytes, "x.safetensors");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kStorage);
    EXPECT_EQ(error.where(), "x.safetensors");
    return error.message();
  }
  return "";
}

std::string refusal(std::string_view header, std::size_t data) { return refusal(file_of(header, data)); }

TEST(Safetensors, WhatIsWrittenIsRead) {
  const std::vector<TensorBlob> tensors{
      {"wide", "F64", {2}, std::vector<std::byte>(16, std::byte{1})},
      {"count", "I64", {}, std::vector<std::byte>(8, std::byte{2})},
      {"ünï \"quoted\"", "F32", {3, 1}, std::vector<std::byte>(12, std::byte{3})},
      {"half", "BF16", {3}, std::vector<std::byte>(6, std::byte{4})},
      {"flags", "BOOL", {5}, std::vector<std::byte>(5, std::byte{1})}};
  EXPECT_EQ(parse_safetensors(written(tensors), "x"), tensors);
  EXPECT_EQ(parse_safetensors(written(tensors, {{"format", "pt"}, {"by", "muster"}}), "x"), tensors);
  EXPECT_TRUE(parse_safetensors(written({}), "x").empty());
}

TEST(Safetensors, EmptyTensorsAreKept) {
  const std::vector<TensorBlob> tensors{{"none", "F32", {0, 3}, {}}, {"one", "F32", {1}, bytes_of("abcd")}};
  EXPECT_EQ(parse_safetensors(written(tensors), "x"), tensors);
}

TEST(Safetensors, EveryTensorLiesAlignedForItsType) {
  const std::vector<TensorBlob> tensors{{"odd", "U8", {3}, bytes_of("abc")},
                                        {"float", "F32", {1}, bytes_of("abcd")},
                                        {"long", "I64", {1}, bytes_of("abcdefgh")}};
  const auto bytes = written(tensors);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ((8 + length) % 64, 0U);
  const auto parsed = parse_safetensors(bytes, "x");
  ASSERT_EQ(parsed.size(), 3U);
  EXPECT_EQ(parsed[0].name, "long");
  EXPECT_EQ(parsed[1].name, "float");
  EXPECT_EQ(parsed[2].name, "odd");
}

TEST(Safetensors, WritingWhatDoesNotFitIsABug) {
  const auto code = [](const std::vector<TensorBlob>& tensors) {
    try {
      written(tensors);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kUsage;
  };
  EXPECT_EQ(code({{"a", "F32", {2}, bytes_of("abcd")}}), ErrorCode::kBug);
  EXPECT_EQ(code({{"a", "F31", {1}, bytes_of("abcd")}}), ErrorCode::kBug);
  EXPECT_EQ(code({{"a", "F32", {-1}, {}}}), ErrorCode::kBug);
  EXPECT_EQ(code({{"__metadata__", "U8", {1}, bytes_of("a")}}), ErrorCode::kBug);
  EXPECT_EQ(code({{"a", "U8", {1}, bytes_of("a")}, {"a", "U8", {1}, bytes_of("a")}}), ErrorCode::kBug);
}

TEST(Safetensors, AForeignFilesOrderAndMetadataAreTaken) {
  const auto parsed = parse_safetensors(
      file_of(R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]},"__metadata__":{"k":"v"},)"
              R"("a":{"shape":[3],"data_offsets":[0,3],"dtype":"I8"}}   )",
              5),
      "x");
  ASSERT_EQ(parsed.size(), 2U);
  EXPECT_EQ(parsed[0].name, "a");
  EXPECT_EQ(parsed[1].name, "b");
}

TEST(Safetensors, MalformedFilesAreRefused) {
  const auto one = [](const char* dtype, const char* shape, const char* offsets) {
    return fmt::format(R"({{"t":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape, offsets);
  };
  EXPECT_EQ(refusal(one(R"("F32")", "[1]", "[0,4]"), 4), "");  // the pattern itself is fine
  const std::vector<std::pair<std::string, const char*>> cases{
      {one(R"("F33")", "[1]", "[0,4]"), "unknown dtype"},
      {one("7", "[1]", "[0,4]"), "unknown dtype"},
      {one(R"("F32")", "[2]", "[0,4]"), "do not fit"},
      {one(R"("F32")", "[]", "[0,0]"), "do not fit"},
      {one(R"("F32")", "[-1]", "[0,4]"), "no whole number"},
      {one(R"("F32")", "[1.0]", "[0,4]"), "no whole number"},
      {one(R"("F32")", "1", "[0,4]"), "no proper shape"},
      {one(R"("F32")", "[4294967296,4294967296]", "[0,0]"), "do not fit"},
      {one(R"("F32")", "[4611686018427387905]", "[0,4]"), "do not fit"},
      {one(R"("F32")", "[18446744073709551615]", "[0,4]"), "no whole number"},
      {one(R"("F32")", "[1]", "[4,0]"), "do not fit"},
      {one(R"("F32")", "[1]", "[0]"), "no proper data_offsets"},
      {one(R"("F32")", "[1]", R"(["0",4])"), "no whole number"},
      {one(R"("F32")", "[1]", "[0,4,4]"), "no proper data_offsets"},
      {one(R"("F32")", "[0]", "[1,1]"), "does not begin where"},
      {R"({"t":{"dtype":"F32","shape":[1]}})", "has not just"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", "has not just"},
      {R"({"t":4})", "has not just"},
      {R"({"__metadata__":4})", "__metadata__"},
      {R"({"__metadata__":{"a":4}})", "__metadata__"},
      {R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"u":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       "does not begin where"},
      {R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"u":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
       "does not begin where"},
      {R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
       "twice"},
      {"[]", "does not start"},
      {"", "does not start"},
      {"{", "not JSON"},
      {"{} x", "not JSON"},
      {"{\"\xff\":1}", "not JSON"},
      {"{}", "4 bytes follow"},
      {"{\"a\":" + std::string(100'000, '['), "nested too deeply"},
  };
  for (const auto& [header, reason] : cases) {
    const std::string message = refusal(header, 4);
    EXPECT_NE(message.find(reason), std::string::npos) << header.substr(0, 100) << " -> " << message;
  }
  EXPECT_NE(refusal(one(R"("F32")", "[2]", "[0,8]"), 4).find("cut short"), std::string::npos);
}

TEST(Safetensors, HeaderLengthsThatLieAreRefused) {
  for (const std::size_t size : {0, 1, 7}) {
    EXPECT_NE(refusal(std::vector<std::byte>(size)).find("cut short"), std::string::npos);
  }
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'001}, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
    auto bytes = file_of("{}", 0);
    std::memcpy(bytes.data(), &length, 8);
    EXPECT_NE(refusal(bytes).find("cut short"), std::string::npos) << length;
  }
}

TEST(Safetensors, EveryCutAndRandomDamageIsRefusedOrRead) {
  const auto whole = written({{"a", "F32", {2}, bytes_of("abcdefgh")}, {"b", "U8", {3}, bytes_of("xyz")}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(refusal(std::span(whole).first(size)), "") << size;
  }
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    auto damaged = whole;
    for (std::uint32_t i = 0; i <= random() % 3; ++i)
      damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    refused += refusal(damaged).empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 1000);
  EXPECT_LT(refused, 3000);  // damage of data bytes is for the checkpoint's hashes
}

}  // namespace
}  // namespace muster
