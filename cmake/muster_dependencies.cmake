# Every library Muster uses, and how to point CMake at your own: CMAKE_PREFIX_PATH, MPI_HOME, HDF5_ROOT, Torch_ROOT.
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
include(GNUInstallDirs)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(ZLIB REQUIRED)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(MPI REQUIRED COMPONENTS C)
find_package(CLI11 REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED) # the header alone
include(muster_targets)

# Warnings, sanitizers and the rest of how we compile; never passed on to users of the installed package.
add_library(muster_options INTERFACE)
target_compile_options(muster_options INTERFACE -Wall -Wextra -Wno-missing-field-initializers -Wpedantic -Wshadow -Wnon-virtual-dtor
                                                -Woverloaded-virtual -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(muster_options INTERFACE -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds) # GCC 12 and 13 see it in every std::string::insert
  # The compiler frees nothing while it has less than 1 GB: a file takes a tenth to a fifth less time, hardly more memory.
  target_compile_options(muster_options INTERFACE --param=ggc-min-expand=1000 --param=ggc-min-heapsize=1000000)
endif()
if(MUSTER_SANITIZE)
  add_compile_options(-fsanitize=${MUSTER_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MUSTER_SANITIZE})
endif()
if(MUSTER_BUILD_FUZZERS AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options(-fsanitize=fuzzer-no-link) # the libraries tell the fuzzer which branches an input took
endif()

if(MUSTER_WITH_TORCH)
  find_package(LibTorch REQUIRED)
  # For files that include torch. The fmt that comes with its headers has no library: it is used inline.
  add_library(muster_torch INTERFACE)
  target_link_libraries(muster_torch INTERFACE LibTorch::LibTorch)
  target_compile_definitions(muster_torch INTERFACE FMT_HEADER_ONLY)
  set_target_properties(muster_torch PROPERTIES EXPORT_NAME torch)
  if(MUSTER_WITH_CUDA STREQUAL "AUTO")
    find_package(LibTorchCUDA QUIET)
    if(NOT LibTorchCUDA_FOUND)
      message(STATUS "libmuster_cuda is left out: no NCCL or CUDA headers (./setup.sh --cuda gets them)")
    endif()
  elseif(MUSTER_WITH_CUDA)
    find_package(LibTorchCUDA REQUIRED)
  endif()
  # A torch compile needs up to 2 GB.
  cmake_host_system_information(RESULT memory_mb QUERY AVAILABLE_PHYSICAL_MEMORY)
  math(EXPR torch_jobs "${memory_mb} / 2048")
  if(torch_jobs LESS 1)
    set(torch_jobs 1)
  endif()
  set_property(GLOBAL APPEND PROPERTY JOB_POOLS torch=${torch_jobs})
  file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cpp "// compiles the precompiled torch header\n")
  add_library(muster_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cpp)
  set_target_properties(muster_torch_pch PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_compile_features(muster_torch_pch PRIVATE cxx_std_20)
  target_link_libraries(muster_torch_pch PRIVATE muster_options muster_torch)
  target_precompile_headers(muster_torch_pch PRIVATE <torch/torch.h>)
endif()

# What most files without torch include, parsed once a build tree. GCC takes it only where the flags are the same: -fPIC.
file(WRITE ${PROJECT_BINARY_DIR}/common_pch.cpp "// compiles the precompiled header of files without torch\n")
add_library(muster_common_pch OBJECT ${PROJECT_BINARY_DIR}/common_pch.cpp)
set_target_properties(muster_common_pch PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_compile_features(muster_common_pch PRIVATE cxx_std_20)
target_link_libraries(muster_common_pch PRIVATE muster_options fmt::fmt nlohmann_json::nlohmann_json)
target_precompile_headers(muster_common_pch PRIVATE
  <fmt/format.h> <nlohmann/json.hpp> <algorithm> <array> <chrono> <cmath> <condition_variable> <cstdint> <cstring> <filesystem>
  <functional> <map> <memory> <mutex> <numeric> <optional> <span> <string> <string_view> <thread> <utility> <vector>)
