#include "trainer/runlog/tensorboard_file.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "core/crc32c.h"
#include "core/host_name.h"
#include "core/text.h"

namespace muster {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

// Field numbers of TensorFlow's event.proto, summary.proto, histogram.proto and tensor.proto.
namespace event {
constexpr std::uint32_t kWallTime = 1;
constexpr std::uint32_t kStep = 2;
constexpr std::uint32_t kFileVersion = 3;
constexpr std::uint32_t kSummary = 5;
constexpr std::uint32_t kSessionLog = 7;
}  // namespace event
namespace session_log {
constexpr std::uint32_t kStatus = 1;
constexpr std::uint64_t kStart = 1;
}  // namespace session_log
namespace summary {
constexpr std::uint32_t kValue = 1;
}  // namespace summary
namespace value {
constexpr std::uint32_t kTag = 1;
constexpr std::uint32_t kSimpleValue = 2;
constexpr std::uint32_t kHistogram = 5;
constexpr std::uint32_t kTensor = 8;
constexpr std::uint32_t kMetadata = 9;
}  // namespace value
namespace metadata {
constexpr std::uint32_t kPluginData = 1;
constexpr std::uint32_t kPluginName = 1;  // of the plugin data
constexpr std::uint32_t kDataClass = 4;
constexpr std::uint64_t kDataClassTensor = 2;
}  // namespace metadata
namespace histogram {
constexpr std::uint32_t kMin = 1;
constexpr std::uint32_t kMax = 2;
constexpr std::uint32_t kNum = 3;
constexpr std::uint32_t kSum = 4;
constexpr std::uint32_t kSumSquares = 5;
constexpr std::uint32_t kBucketLimit = 6;
constexpr std::uint32_t kBucket = 7;
}  // namespace histogram
namespace tensor {
constexpr std::uint32_t kType = 1;
constexpr std::uint32_t kShape = 2;
constexpr std::uint32_t kTexts = 8;
constexpr std::uint64_t kTypeString = 7;
}  // namespace tensor

std::string little_endian(std::uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> (8 * i));
  return text;
}

ProtoMessage histogram_message(const Histogram& values) {
  return ProtoMessage()
      .number(histogram::kMin, values.min)
      .number(histogram::kMax, values.max)
      .number(histogram::kNum, static_cast<double>(values.count))
      .number(histogram::kSum, values.sum)
      .number(histogram::kSumSquares, values.sum_squares)
      .numbers(histogram::kBucketLimit, values.limits)
      .numbers(histogram::kBucket, values.counts);
}

}  // namespace

std::uint32_t masked_crc32c(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

std::string tf_record(std::string_view bytes) {
  const std::string length = little_endian(bytes.size(), 8);
  return length + little_endian(masked_crc32c(length), 4) + std::string(bytes) +
         little_endian(masked_crc32c(bytes), 4);
}

std::string tensorboard_file_name(FileSystem& files, const std::filesystem::path& directory,
                                  std::uint64_t generation) {
  auto seconds = static_cast<long long>(seconds_since_epoch());
  for (const std::string& name : files.list(directory)) {
    if (!name.starts_with(kPrefix)) continue;
    long long before = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), before);
    seconds = std::max(seconds, before + 1);
  }
  return fmt::format("{}{:010}.{}.{}.{}", kPrefix, seconds, host_name(), ::getpid(), generation);
}

TensorBoardFile::TensorBoardFile(FileSystem& files, const std::filesystem::path& file)
    : file_(files.create(file)) {
  ProtoMessage version;
  version.number(event::kWallTime, seconds_since_epoch()).text(event::kFileVersion, "brain.Event:2");
  file_->append(tf_record(version.bytes()));
}

void TensorBoardFile::write(std::uint64_t step, std::uint32_t field, const ProtoMessage& message) {
  ProtoMessage whole;
  whole.number(event::kWallTime, seconds_since_epoch()).integer(event::kStep, step).message(field, message);
  file_->append(tf_record(whole.bytes()));
}

void TensorBoardFile::start(std::uint64_t step) {
  write(step, event::kSessionLog, ProtoMessage().integer(session_log::kStatus, session_log::kStart));
}

void TensorBoardFile::scalars(std::uint64_t step, std::span<const std::pair<std::string, double>> values) {
  ProtoMessage all;
  for (const auto& [tag, number] : values) {
    all.message(
        summary::kValue,
        ProtoMessage().text(value::kTag, tag).single(value::kSimpleValue, static_cast<float>(number)));
  }
  write(step, event::kSummary, all);
}

void TensorBoardFile::text(std::uint64_t step, std::string_view tag, std::string_view markdown) {
  const auto plugin = ProtoMessage().text(metadata::kPluginName, "text");
  const auto about = ProtoMessage()
                         .message(metadata::kPluginData, plugin)
                         .integer(metadata::kDataClass, metadata::kDataClassTensor);
  const auto content = ProtoMessage()
                           .integer(tensor::kType, tensor::kTypeString)
                           .message(tensor::kShape, ProtoMessage())  // no dimensions: one text
                           .text(tensor::kTexts, markdown);
  const auto one =
      ProtoMessage().text(value::kTag, tag).message(value::kMetadata, about).message(value::kTensor, content);
  write(step, event::kSummary, ProtoMessage().message(summary::kValue, one));
}

void TensorBoardFile::histograms(std::uint64_t step, std::span<const NamedHistogram> histograms) {
  ProtoMessage all;
  for (const NamedHistogram& named : histograms) {
    all.message(summary::kValue, ProtoMessage()
                                     .text(value::kTag, named.name)
                                     .message(value::kHistogram, histogram_message(named.histogram)));
  }
  write(step, event::kSummary, all);
}

void TensorBoardFile::sync() { file_->sync(); }

}  // namespace muster
