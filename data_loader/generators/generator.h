#pragma once
// Built-in data: seeded, any size, constant memory. A new kind is one new file with one registration line.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/registry.h"
#include "data_loader/contract/contract.h"
#include "data_loader/reading/partition_file.h"

namespace muster {

struct GenerateOptions {
  std::string kind;
  std::uint64_t rows = 0;
  std::uint32_t partitions = 1;
  std::uint64_t seed = 1;
  Codec codec = Codec::kNone;
  std::vector<std::uint64_t> shape;  ///< of a row's arrays; empty: the kind's own
  std::filesystem::path out;         ///< created; refused if it holds a dataset already
  LogSink log = silent_log();
};

/// Makes rows in order. `next` is called until all rows are out.
class RowGenerator {
 public:
  virtual ~RowGenerator() = default;
  /// contract.yaml's text, with comments for people; generation follows what it declares.
  virtual std::string contract_yaml() const = 0;
  /// Fills the next `rows` rows: columns[i] (of the contract's field i) has rows × bytes_per_row bytes.
  virtual void next(std::uint64_t rows, std::span<std::vector<std::byte>> columns) = 0;
};

struct GeneratorFactory {
  std::function<std::unique_ptr<RowGenerator>(const GenerateOptions&)> make;
  std::string help;          ///< one line
  bool takes_shape = false;  ///< GenerateOptions::shape is for it
};

/// Shipped: card-fraud, fields, images, tabular, tokens.
inline Registry<GeneratorFactory>& generators() { return Registry<GeneratorFactory>::of_kind("generator"); }

/// Writes `partitions` files part-00000.h5 … and contract.yaml. The same options give the same values,
/// whatever the codec. Error{kUsage} for a shape that the kind does not take, or cannot have.
void generate(const GenerateOptions& options);

}  // namespace muster
