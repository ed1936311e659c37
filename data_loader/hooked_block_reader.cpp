#include "data_loader/hooked_block_reader.h"

#include <utility>

namespace muster {
namespace {

class HookedBlockReader : public BlockReader {
 public:
  HookedBlockReader(std::unique_ptr<BlockReader> inner,
                    std::function<void(std::uint32_t block, std::size_t field)> before)
      : inner_(std::move(inner)), before_(std::move(before)) {}

  void read(std::uint32_t block, std::size_t field, std::span<std::byte> out) override {
    before_(block, field);
    inner_->read(block, field, out);
  }
  void forget(std::uint32_t partition) override { inner_->forget(partition); }
  const std::vector<Block>& blocks() const override { return inner_->blocks(); }
  std::string partition_name(std::uint32_t partition) const override {
    return inner_->partition_name(partition);
  }

 private:
  std::unique_ptr<BlockReader> inner_;
  std::function<void(std::uint32_t block, std::size_t field)> before_;
};

}  // namespace

std::unique_ptr<BlockReader> make_hooked_block_reader(
    std::unique_ptr<BlockReader> inner, std::function<void(std::uint32_t block, std::size_t field)> before) {
  return std::make_unique<HookedBlockReader>(std::move(inner), std::move(before));
}

}  // namespace muster
