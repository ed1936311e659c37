# A folder is a layer is a target.
#
#   muster_add_layer(trainer SOURCES a.cpp TORCH_SOURCES loop.cpp LINK muster::data_loader PRIVATE_LINK MPI::MPI_C)
#
# makes muster::trainer. What a layer registers (models, generators, ingest formats, transforms) sits in files nobody
# calls by name; a plain static library would drop them, so every user gets the whole archive, installed or not.
function(muster_add_layer name)
  cmake_parse_arguments(arg "" "" "SOURCES;TORCH_SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  set(archive muster_${name}_archive)
  add_library(${archive} STATIC ${arg_SOURCES})
  set_target_properties(${archive} PROPERTIES OUTPUT_NAME muster_${name} EXPORT_NAME ${name}_archive
                                              POSITION_INDEPENDENT_CODE ON)
  target_compile_features(${archive} PUBLIC cxx_std_20)
  target_include_directories(${archive} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/muster>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${archive} PUBLIC ${arg_LINK} PRIVATE $<BUILD_INTERFACE:muster_options> ${arg_PRIVATE_LINK})

  target_precompile_headers(${archive} REUSE_FROM muster_common_pch)

  if(arg_TORCH_SOURCES AND MUSTER_WITH_TORCH)
    # Files that compute tensors share one precompiled torch header (0.7 GB a build tree, 50 s once).
    set(objects muster_${name}_torch)
    add_library(${objects} OBJECT ${arg_TORCH_SOURCES})
    set_target_properties(${objects} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_include_directories(${objects} PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${objects} PRIVATE muster_options muster_torch ${arg_LINK} ${arg_PRIVATE_LINK})
    target_precompile_headers(${objects} REUSE_FROM muster_torch_pch)
    set_property(TARGET ${objects} PROPERTY JOB_POOL_COMPILE torch)
    target_sources(${archive} PRIVATE $<TARGET_OBJECTS:${objects}>)
    # Libraries only: torch brings its own fmt headers, which no other file may see.
    target_link_libraries(${archive} INTERFACE $<LINK_ONLY:muster_torch>)
  endif()

  add_library(muster_${name} INTERFACE)
  add_library(muster::${name} ALIAS muster_${name})
  set_target_properties(muster_${name} PROPERTIES EXPORT_NAME ${name})
  # By its exported name: install(EXPORT) does not rename what stands inside LINK_LIBRARY.
  add_library(muster::${name}_archive ALIAS ${archive})
  target_link_libraries(muster_${name} INTERFACE "$<LINK_LIBRARY:WHOLE_ARCHIVE,muster::${name}_archive>")
  set_property(GLOBAL APPEND PROPERTY MUSTER_LAYERS ${name})
endfunction()
