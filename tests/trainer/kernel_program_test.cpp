// The device code compiles, for all types that are asked for, on the oldest and on newer GPUs. It runs in
// tests/gpu.

#include "trainer/cuda/kernel_program.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/error.h"

namespace muster {
namespace {

std::vector<KernelProgram> programs() {
  std::vector<KernelProgram> all{{"dropout_mask", {}}, {"sum_partials", {}}, {"sum_ranks", {}}};
  for (const char* type : {"Float32", "BFloat16", "Float16"}) {
    all.push_back({"cross_entropy", {std::string("SCORE=") + type}});
    all.push_back({"batch_norm", {std::string("VALUE=") + type}});
    all.push_back({"column_sums", {std::string("VALUE=") + type}});
    for (const char* delta : {"Float32", type}) {
      all.push_back({"add_norm", {std::string("DELTA=") + delta, std::string("NORMAL=") + type, "FOURS=6"}});
    }
  }
  return all;
}

TEST(KernelProgram, EachCompilesForOldAndNewGpus) {
  for (const auto& [major, minor] : {std::pair(7, 5), std::pair(9, 0)}) {
    for (const KernelProgram& program : programs()) {
      const std::string code = compile(program, major, minor);
      EXPECT_EQ(code.substr(1, 3), "ELF") << program.file;
    }
  }
}

TEST(KernelProgram, WhatDoesNotCompileIsSaidInTheCompilersWords) {
  try {
    compile({"cross_entropy", {"SCORE=NoSuchType"}}, 9, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBug);
    EXPECT_NE(error.message().find("NoSuchType"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace muster
