# CMake's FindHDF5 gives variables, not a target with usable directories on every version: make one.
if(NOT TARGET muster_hdf5)
  add_library(muster_hdf5 INTERFACE IMPORTED)
  target_include_directories(muster_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS} ${HDF5_INCLUDE_DIRS})
  target_link_libraries(muster_hdf5 INTERFACE ${HDF5_C_LIBRARIES})
endif()
