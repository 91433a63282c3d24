# plimsoll_add_library(<name> [<target>...]): a static library of what depends on no network, compiled once. Programs
# that link it compile in a third of the time. The targets are what it is compiled with, as plimsoll::native is, and
# programs get them too: a library and its programs must be compiled alike.
function(plimsoll_add_library name)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "#define PLIMSOLL_IMPLEMENTATION\n#include <plimsoll/plimsoll.hpp>\n")
  add_library(${name} STATIC ${source})
  target_compile_definitions(${name} INTERFACE PLIMSOLL_COMPILED=1)
  target_link_libraries(${name} PUBLIC plimsoll::plimsoll ${ARGN})
endfunction()
