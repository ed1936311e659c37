#pragma once
// Plain numbers and structs through the collectives that take bytes.

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "trainer/comm/communicator.h"

namespace muster {

template <typename T>
std::vector<std::byte> to_bytes(std::span<const T> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<std::byte> bytes(values.size_bytes());
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Appends to `values` what to_bytes has made of others.
template <typename T>
void append_from_bytes(std::vector<T>& values, std::span<const std::byte> bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::size_t before = values.size();
  values.resize(before + bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data() + before, bytes.data(), bytes.size());
}

/// Collective. Every rank's values, one after another in rank order.
template <typename T>
std::vector<T> gather(Communicator& comm, std::string_view name, std::span<const T> mine) {
  std::vector<T> all;
  for (const auto& bytes : comm.all_gather(name, std::as_bytes(mine))) append_from_bytes<T>(all, bytes);
  return all;
}

/// Collective. One text of each rank, in rank order.
inline std::vector<std::string> gather_texts(Communicator& comm, std::string_view name,
                                             const std::string& mine) {
  std::vector<std::string> texts;
  for (const auto& bytes : comm.all_gather(name, std::as_bytes(std::span(mine))))
    texts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return texts;
}

}  // namespace muster
