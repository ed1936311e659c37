#include "models/autocast.h"

#include <ATen/autocast_mode.h>

namespace muster {
namespace {

AutocastState::Device state_of(at::DeviceType device) {
  return {at::autocast::is_autocast_enabled(device),
          static_cast<int>(at::autocast::get_autocast_dtype(device))};
}

void set(at::DeviceType device, const AutocastState::Device& state) {
  at::autocast::set_autocast_enabled(device, state.enabled);
  at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(state.type));
}

void set(const AutocastState& state) {
  set(at::kCPU, state.cpu);
  set(at::kCUDA, state.cuda);
  at::autocast::set_autocast_cache_enabled(state.keeps_casts);
}

}  // namespace

AutocastState autocast_state() {
  return {state_of(at::kCPU), state_of(at::kCUDA), at::autocast::is_autocast_cache_enabled()};
}

AutocastScope::AutocastScope(const AutocastState& state) : before_(autocast_state()) { set(state); }
AutocastScope::~AutocastScope() { set(before_); }

}  // namespace muster
