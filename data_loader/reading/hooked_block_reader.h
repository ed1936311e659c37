#pragma once
// A reader before whose reads something happens: how drills and tests make them slow, or fail.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "data_loader/reading/block_reader.h"

namespace muster {

/// Everything goes on to `inner`, after `before(block, field)`; that is called on any thread, and what it
/// throws is what the read throws.
std::unique_ptr<BlockReader> make_hooked_block_reader(
    std::unique_ptr<BlockReader> inner, std::function<void(std::uint32_t block, std::size_t field)> before);

/// As that, with what is returned kept until the read is over: it sees the end.
std::unique_ptr<BlockReader> make_observed_block_reader(
    std::unique_ptr<BlockReader> inner,
    std::function<std::shared_ptr<void>(std::uint32_t block, std::size_t field)> around);

}  // namespace muster
