cmake_minimum_required(VERSION 3.24)
# Writes the version and, in a git checkout, its commit ("0.1.0-g1a2b3c4", "-dirty" with changes) as a header.
set(text ${VERSION})
find_program(git git)
if(git AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${git} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE result ERROR_QUIET)
  if(result EQUAL 0)
    string(APPEND text "-g" ${commit})
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#pragma once\nconstexpr const char* kCodeVersion = \"@text@\";\n" @ONLY)
