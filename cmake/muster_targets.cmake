# What CMake's own finders lack, the same for this tree and for users of the installed package.

# FindHDF5 gives variables, not a target with usable directories on every version.
if(NOT TARGET muster_hdf5)
  add_library(muster_hdf5 INTERFACE IMPORTED)
  target_include_directories(muster_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS} ${HDF5_INCLUDE_DIRS})
  target_link_libraries(muster_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
endif()

# Older packages of yaml-cpp name the target without a namespace.
if(NOT TARGET yaml-cpp::yaml-cpp)
  add_library(yaml-cpp::yaml-cpp INTERFACE IMPORTED)
  target_link_libraries(yaml-cpp::yaml-cpp INTERFACE yaml-cpp)
endif()

# mpi.h would bring Open MPI's and MPICH's old C++ bindings with it, and undefined symbols with them.
set_property(TARGET MPI::MPI_C APPEND PROPERTY INTERFACE_COMPILE_DEFINITIONS OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
