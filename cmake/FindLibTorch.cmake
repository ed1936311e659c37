# LibTorch without the CUDA toolkit that torch's own CMake files insist on. Looks, in this order, at Torch_ROOT,
# Torch_DIR, CMAKE_PREFIX_PATH and the wheel that setup.sh puts under build/deps. Defines LibTorch::LibTorch.
set(_torch_hints ${Torch_ROOT} $ENV{Torch_ROOT})
if(Torch_DIR)
  list(APPEND _torch_hints ${Torch_DIR}/../../..)
endif()
if(MUSTER_LIBTORCH_DEFAULT)
  list(APPEND _torch_hints ${MUSTER_LIBTORCH_DEFAULT})
else()
  list(APPEND _torch_hints ${CMAKE_CURRENT_LIST_DIR}/../build/deps/libtorch/torch)
endif()
find_path(LibTorch_INCLUDE_DIR torch/csrc/autograd/variable.h HINTS ${_torch_hints} PATH_SUFFIXES include)
find_path(LibTorch_API_INCLUDE_DIR torch/torch.h HINTS ${_torch_hints}
          PATH_SUFFIXES include/torch/csrc/api/include)
find_library(LibTorch_CPU_LIBRARY torch_cpu HINTS ${_torch_hints} PATH_SUFFIXES lib)
find_library(LibTorch_C10_LIBRARY c10 HINTS ${_torch_hints} PATH_SUFFIXES lib)
mark_as_advanced(LibTorch_INCLUDE_DIR LibTorch_API_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)

set(LibTorch_VERSION "")
if(LibTorch_INCLUDE_DIR AND EXISTS ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h)
  file(STRINGS ${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h _lines
       REGEX "#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX MATCHALL "[0-9]+" _numbers "${_lines}")
  string(JOIN "." LibTorch_VERSION ${_numbers})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY LibTorch_INCLUDE_DIR LibTorch_API_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run ./setup.sh, or give your own with -DTorch_ROOT=<folder with include/ and lib/>")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  get_filename_component(_torch_lib ${LibTorch_CPU_LIBRARY} DIRECTORY)
  get_filename_component(_torch_site ${_torch_lib}/../.. ABSOLUTE)
  # The CUDA build of libtorch_cpu.so needs libcudart and libcupti, which the wheels keep in folders beside it.
  file(GLOB _cuda_libs "${_torch_site}/nvidia/*/lib")
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE ${LibTorch_INCLUDE_DIR} ${LibTorch_API_INCLUDE_DIR})
  target_link_libraries(LibTorch::LibTorch INTERFACE ${LibTorch_CPU_LIBRARY} ${LibTorch_C10_LIBRARY})
  target_link_options(LibTorch::LibTorch INTERFACE "LINKER:-rpath,${_torch_lib}")
  foreach(_dir IN LISTS _cuda_libs)
    target_link_options(LibTorch::LibTorch INTERFACE "LINKER:-rpath,${_dir}" "LINKER:-rpath-link,${_dir}")
  endforeach()
endif()
