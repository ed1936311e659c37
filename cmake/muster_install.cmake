# `cmake --install`: libraries, headers under include/muster, the commands, and the package `muster`.
include(CMakePackageConfigHelpers)
set(muster_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/muster)
get_property(muster_layers GLOBAL PROPERTY MUSTER_LAYERS)

foreach(layer IN LISTS muster_layers)
  install(TARGETS muster_${layer} muster_${layer}_archive EXPORT muster ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${layer}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/muster/${layer}
          FILES_MATCHING PATTERN "*.h")
endforeach()
if(MUSTER_WITH_TORCH)
  install(TARGETS muster_torch EXPORT muster)
  get_filename_component(muster_libtorch_dir ${LibTorch_INCLUDE_DIR} DIRECTORY)
endif()
install(EXPORT muster NAMESPACE muster:: FILE muster-targets.cmake DESTINATION ${muster_package_dir})

foreach(program muster muster-probe)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    # The rpath to LibTorch stays: its folder is not one the loader knows.
    set_target_properties(${program} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  endif()
endforeach()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/muster-config.cmake.in
  ${PROJECT_BINARY_DIR}/muster-config.cmake INSTALL_DESTINATION ${muster_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/muster-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/muster-config.cmake ${PROJECT_BINARY_DIR}/muster-config-version.cmake
              cmake/muster_targets.cmake cmake/FindLibTorch.cmake DESTINATION ${muster_package_dir})
