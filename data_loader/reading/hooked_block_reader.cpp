#include "data_loader/reading/hooked_block_reader.h"

#include <utility>

namespace muster {
namespace {

using Around = std::function<std::shared_ptr<void>(std::uint32_t block, std::size_t field)>;

class HookedBlockReader : public BlockReader {
 public:
  HookedBlockReader(std::unique_ptr<BlockReader> inner, Around around)
      : inner_(std::move(inner)), around_(std::move(around)) {}

  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    const std::shared_ptr<void> until_the_end = around_(block, field);
    inner_->read(block, field, out);
  }
  void forget(std::uint32_t partition) override { inner_->forget(partition); }
  const std::vector<Block>& blocks() const override { return inner_->blocks(); }
  std::string partition_name(std::uint32_t partition) const override {
    return inner_->partition_name(partition);
  }

 private:
  std::unique_ptr<BlockReader> inner_;
  Around around_;
};

}  // namespace

std::unique_ptr<BlockReader> make_hooked_block_reader(
    std::unique_ptr<BlockReader> inner, std::function<void(std::uint32_t block, std::size_t field)> before) {
  return make_observed_block_reader(std::move(inner),
                                    [before = std::move(before)](std::uint32_t block, std::size_t field) {
                                      before(block, field);
                                      return std::shared_ptr<void>();
                                    });
}

std::unique_ptr<BlockReader> make_observed_block_reader(std::unique_ptr<BlockReader> inner, Around around) {
  return std::make_unique<HookedBlockReader>(std::move(inner), std::move(around));
}

}  // namespace muster
