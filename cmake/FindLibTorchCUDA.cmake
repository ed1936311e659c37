# What a CUDA module links beside LibTorch: its CUDA part, the CUDA runtime, NCCL and NVRTC, from the wheels that setup.sh
# unpacks, or from a toolkit (CUDAToolkit_ROOT, NCCL_ROOT). After LibTorch. Defines LibTorch::CUDA and LibTorch::NVRTC.
get_filename_component(_torch_lib "${LibTorch_CPU_LIBRARY}" DIRECTORY)
get_filename_component(_torch_site "${_torch_lib}/../.." ABSOLUTE)
file(GLOB _wheels ${_torch_site}/nvidia/cu* ${_torch_site}/nvidia/cuda_runtime)

find_library(LibTorchCUDA_LIBRARY torch_cuda HINTS ${_torch_lib})
find_library(LibTorchCUDA_C10_LIBRARY c10_cuda HINTS ${_torch_lib})
# The wheels have no libcudart.so without a version.
find_path(LibTorchCUDA_INCLUDE_DIR cuda_runtime_api.h HINTS ${_wheels} ${CUDAToolkit_ROOT} /usr/local/cuda PATH_SUFFIXES include)
find_file(LibTorchCUDA_RUNTIME NAMES libcudart.so.13 libcudart.so HINTS ${_wheels} ${CUDAToolkit_ROOT} /usr/local/cuda
          PATH_SUFFIXES lib lib64)
find_path(LibTorchCUDA_NCCL_INCLUDE_DIR nccl.h HINTS ${NCCL_ROOT} ${_torch_site}/nvidia/nccl PATH_SUFFIXES include)
find_file(LibTorchCUDA_NCCL NAMES libnccl.so.2 libnccl.so HINTS ${NCCL_ROOT} ${_torch_site}/nvidia/nccl
          PATHS /usr/lib/x86_64-linux-gnu PATH_SUFFIXES lib lib64)
find_path(LibTorchCUDA_NVRTC_INCLUDE_DIR nvrtc.h HINTS ${_wheels} ${CUDAToolkit_ROOT} /usr/local/cuda PATH_SUFFIXES include)
find_file(LibTorchCUDA_NVRTC NAMES libnvrtc.so.13 libnvrtc.so HINTS ${_wheels} ${CUDAToolkit_ROOT} /usr/local/cuda
          PATH_SUFFIXES lib lib64)
mark_as_advanced(LibTorchCUDA_LIBRARY LibTorchCUDA_C10_LIBRARY LibTorchCUDA_INCLUDE_DIR LibTorchCUDA_RUNTIME
                 LibTorchCUDA_NCCL_INCLUDE_DIR LibTorchCUDA_NCCL LibTorchCUDA_NVRTC_INCLUDE_DIR LibTorchCUDA_NVRTC)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorchCUDA
  REQUIRED_VARS LibTorchCUDA_LIBRARY LibTorchCUDA_C10_LIBRARY LibTorchCUDA_INCLUDE_DIR LibTorchCUDA_RUNTIME
                LibTorchCUDA_NCCL_INCLUDE_DIR LibTorchCUDA_NCCL LibTorchCUDA_NVRTC_INCLUDE_DIR LibTorchCUDA_NVRTC
  REASON_FAILURE_MESSAGE "run ./setup.sh --cuda, or give your own with -DCUDAToolkit_ROOT=... and -DNCCL_ROOT=...")

if(LibTorchCUDA_FOUND AND NOT TARGET LibTorch::CUDA)
  add_library(LibTorch::CUDA INTERFACE IMPORTED)
  target_include_directories(LibTorch::CUDA SYSTEM INTERFACE ${LibTorchCUDA_INCLUDE_DIR} ${LibTorchCUDA_NCCL_INCLUDE_DIR})
  # No symbol of libtorch_cuda is used: it is loaded for what it registers, so no linker may leave it out.
  target_link_libraries(LibTorch::CUDA INTERFACE "-Wl,--push-state,--no-as-needed" ${LibTorchCUDA_LIBRARY} "-Wl,--pop-state"
                                                 ${LibTorchCUDA_C10_LIBRARY} ${LibTorchCUDA_RUNTIME} ${LibTorchCUDA_NCCL})
  add_library(LibTorch::NVRTC INTERFACE IMPORTED)
  target_include_directories(LibTorch::NVRTC SYSTEM INTERFACE ${LibTorchCUDA_NVRTC_INCLUDE_DIR})
  target_link_libraries(LibTorch::NVRTC INTERFACE ${LibTorchCUDA_NVRTC})
  file(GLOB _cuda_libs "${_torch_site}/nvidia/*/lib")
  foreach(_dir IN LISTS _torch_lib _cuda_libs)
    target_link_options(LibTorch::CUDA INTERFACE "LINKER:-rpath,${_dir}")
    target_link_options(LibTorch::NVRTC INTERFACE "LINKER:-rpath,${_dir}")
  endforeach()
endif()
