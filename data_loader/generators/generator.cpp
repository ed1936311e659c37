#include "data_loader/generators/generator.h"

#include <algorithm>

#include "core/text.h"
#include "data_loader/writing/dataset_writer.h"

namespace muster {

void generate(const GenerateOptions& options) {
  if (options.rows == 0) fail(ErrorCode::kUsage, "0 rows make no dataset: give at least 1");
  const GeneratorFactory& factory = generators().get(options.kind);
  if (!options.shape.empty() && !factory.takes_shape)
    fail(ErrorCode::kUsage, "the rows of '{}' have one shape: leave --shape out", options.kind);
  const std::unique_ptr<RowGenerator> generator = factory.make(options);
  const std::string text = generator->contract_yaml();
  Contract contract = Contract::parse(YamlNode::parse(text, "contract.yaml"));
  std::vector<std::vector<std::byte>> columns(contract.fields().size());
  DatasetWriter::Plan plan{options.out, text, std::move(contract), options.rows, options.partitions};
  plan.codec = options.codec;
  DatasetWriter writer(std::move(plan));
  for (std::uint64_t done = 0; done < options.rows;) {
    const std::uint64_t rows = std::min(writer.rows_at_once(), options.rows - done);
    generator->next(rows, columns);
    writer.append(std::vector<std::span<const std::byte>>(columns.begin(), columns.end()), rows);
    done += rows;
  }
  writer.finish();
  options.log(LogLevel::kInfo,
              fmt::format("generated {} rows of {} in {} partitions: {}", human_count(options.rows),
                          options.kind, human_count(options.partitions), options.out.string()));
}

}  // namespace muster
