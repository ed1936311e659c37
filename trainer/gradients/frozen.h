#pragma once
// Parameters that stay as they are while the others are trained.

#include <span>
#include <string>

namespace torch::nn {
class Module;
}

namespace muster {

/// Turns gradients off for every parameter that a pattern (NamePattern) matches by one of its names.
/// Error{kConfig} for a pattern that matches none, or where nothing would be left to train.
void freeze(torch::nn::Module& module, std::span<const std::string> patterns);

/// As module.train(), but a module all of whose own parameters are frozen evaluates: a frozen batch norm uses
/// its running statistics and leaves them alone.
void set_training(torch::nn::Module& module);

}  // namespace muster
