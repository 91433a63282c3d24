# Rooms, headers alone, compile-fail cases, consumer projects.

set(include_dir ${PROJECT_SOURCE_DIR}/include)
set(umbrella ${include_dir}/plimsoll/plimsoll.hpp)

# --------------------------------------------------------------------------------------------------- rooms
add_test(NAME rooms COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/rooms.sh ${include_dir})
add_test(NAME rooms_fail COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/rooms_fail.sh
                                 ${CMAKE_CURRENT_SOURCE_DIR}/rooms_fail ${CMAKE_CURRENT_BINARY_DIR}/rooms_fail)

# ------------------------------------------------------------------------------- toolkits and GPUs that will not do
add_test(NAME toolkit COMMAND ${CMAKE_COMMAND} -D WORK=${CMAKE_CURRENT_BINARY_DIR}/toolkit -D SOURCE=${PROJECT_SOURCE_DIR}
                              -P ${CMAKE_CURRENT_SOURCE_DIR}/toolkit.cmake)

# ------------------------------------------------------------------------- the flags a user of ours compiles with
# One file of flags a language, one flag a line, written from what plimsoll::plimsoll hands to a target.
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/probe.cpp "")
add_library(plimsoll_probe OBJECT EXCLUDE_FROM_ALL ${CMAKE_CURRENT_BINARY_DIR}/probe.cpp)
target_link_libraries(plimsoll_probe PRIVATE plimsoll::plimsoll)
if(PLIMSOLL_CUDA_ENABLED)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/probe.cu "")
  target_sources(plimsoll_probe PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/probe.cu)
  target_link_libraries(plimsoll_probe PRIVATE plimsoll::cuda)
endif()
set(dirs "$<TARGET_PROPERTY:plimsoll_probe,INCLUDE_DIRECTORIES>")
set(dirs "$<FILTER:$<REMOVE_DUPLICATES:${dirs}>,EXCLUDE,^(/usr/include/?|${include_dir})$>")
set(definitions "$<TARGET_PROPERTY:plimsoll_probe,COMPILE_DEFINITIONS>")
set(options "$<TARGET_PROPERTY:plimsoll_probe,COMPILE_OPTIONS>")
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/flags.$<COMPILE_LANGUAGE>
     CONTENT "-std=c++20
-I${include_dir}
$<$<BOOL:${dirs}>:-isystem\n$<JOIN:${dirs},\n-isystem\n>>
$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},\n-D>>
$<JOIN:${options},\n>
"
     TARGET plimsoll_probe)
set(flags ${CMAKE_CURRENT_BINARY_DIR}/flags.CXX)

function(compiler_name out compiler)
  cmake_path(GET compiler FILENAME name)
  if(name STREQUAL "c++" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(name g++)
  endif()
  set(${out} ${name} PARENT_SCOPE)
endfunction()

# Our compiler, and the other one where it is installed with OpenMP's header.
set(compilers ${CMAKE_CXX_COMPILER})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_program(PLIMSOLL_OTHER_COMPILER clang++)
elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  find_program(PLIMSOLL_OTHER_COMPILER g++)
endif()
mark_as_advanced(PLIMSOLL_OTHER_COMPILER)
if(PLIMSOLL_OTHER_COMPILER)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/omp.cpp "#include <omp.h>\n#include <compare>\n")
  execute_process(COMMAND ${PLIMSOLL_OTHER_COMPILER} -std=c++20 -fopenmp -fsyntax-only
                          ${CMAKE_CURRENT_BINARY_DIR}/omp.cpp
                  RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
  if(result EQUAL 0)
    list(APPEND compilers ${PLIMSOLL_OTHER_COMPILER})
  else()
    message(STATUS "Plimsoll: ${PLIMSOLL_OTHER_COMPILER} lacks C++20 or omp.h (Debian's package is libomp-dev); "
                   "its checks are left out.")
  endif()
endif()

# ------------------------------------------------------------------------------------- each header compiles alone
set(headers_script ${CMAKE_CURRENT_SOURCE_DIR}/headers.sh)
foreach(compiler IN LISTS compilers)
  compiler_name(name ${compiler})
  add_test(NAME headers.${name} COMMAND sh ${headers_script} ${compiler} ${flags} ${include_dir} hpp)
  set_tests_properties(headers.${name} PROPERTIES PROCESSORS 2 TIMEOUT 900)
endforeach()
if(EXISTS ${umbrella})
  foreach(header IN ITEMS plimsoll.hpp format/picture.hpp)
    string(MAKE_C_IDENTIFIER ${header} name)
    add_test(NAME headers.without_libraries.${name}
             COMMAND sh ${headers_script} ${CMAKE_CXX_COMPILER} ${flags} ${include_dir} ${header}
                     -UPLIMSOLL_WITH_ONEDNN -UPLIMSOLL_WITH_ZLIB -UPLIMSOLL_WITH_PROTOZERO -UPLIMSOLL_WITH_JPEG
                     -UPLIMSOLL_WITH_PNG -DPLIMSOLL_WITH_ONEDNN=0 -DPLIMSOLL_WITH_ZLIB=0 -DPLIMSOLL_WITH_PROTOZERO=0
                     -DPLIMSOLL_WITH_JPEG=0 -DPLIMSOLL_WITH_PNG=0 -DPLIMSOLL_CANARIES=1)
  endforeach()
endif()
if(PLIMSOLL_CUDA_ENABLED)
  add_test(NAME headers.nvcc COMMAND sh ${headers_script} ${CMAKE_CUDA_COMPILER}
                                     ${CMAKE_CURRENT_BINARY_DIR}/flags.CUDA ${include_dir} cuh)
  set_tests_properties(headers.nvcc PROPERTIES PROCESSORS 2 TIMEOUT 1800)
endif()
add_test(NAME headers_fail COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/headers_fail.sh ${headers_script}
                                   ${CMAKE_CXX_COMPILER} ${flags} ${CMAKE_CURRENT_BINARY_DIR}/headers_fail)

# --------------------------------------------------------------------------------------------- compile-fail cases
# Each compile_fail/*.cpp is a case; its comments say which sentence the compiler must print.
set(case_script ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail.sh)
file(GLOB cases CONFIGURE_DEPENDS compile_fail/*.cpp)
foreach(case IN LISTS cases)
  cmake_path(GET case STEM stem)
  foreach(compiler IN LISTS compilers)
    compiler_name(name ${compiler})
    add_test(NAME compile_fail.${stem}.${name} COMMAND sh ${case_script} ${compiler} ${flags} ${case})
  endforeach()
  file(STRINGS ${case} wants_nvcc LIMIT_COUNT 1 REGEX "^// nvcc")
  if(PLIMSOLL_CUDA_ENABLED AND wants_nvcc)
    add_test(NAME compile_fail.${stem}.nvcc
             COMMAND sh ${case_script} ${CMAKE_CUDA_COMPILER} ${CMAKE_CURRENT_BINARY_DIR}/flags.CUDA ${case})
  endif()
endforeach()
# The machinery itself: a wrong sentence, a case that compiles and a broken control are each refused.
file(GLOB cases CONFIGURE_DEPENDS compile_fail/machinery/*.cpp)
foreach(case IN LISTS cases)
  cmake_path(GET case STEM stem)
  add_test(NAME compile_fail_machinery.${stem} COMMAND sh ${case_script} ${CMAKE_CXX_COMPILER} ${flags} ${case})
  file(STRINGS ${case} refusal LIMIT_COUNT 1 REGEX "^// refused: ")
  string(REPLACE "// refused: " "" refusal "${refusal}")
  set_tests_properties(compile_fail_machinery.${stem} PROPERTIES PASS_REGULAR_EXPRESSION "refused: ${refusal}")
endforeach()

# -------------------------------------------------------------------------------- plans that compilers can make
# Each compiles/*.cpp must compile. With clang and nvcc too: their limits of constant expressions are others.
set(compiles_script ${CMAKE_CURRENT_SOURCE_DIR}/compiles.sh)
file(GLOB cases CONFIGURE_DEPENDS compiles/*.cpp)
foreach(case IN LISTS cases)
  cmake_path(GET case STEM stem)
  foreach(compiler IN LISTS compilers)
    compiler_name(name ${compiler})
    add_test(NAME compiles.${stem}.${name} COMMAND sh ${compiles_script} ${compiler} ${flags} ${case})
  endforeach()
  if(PLIMSOLL_CUDA_ENABLED)
    add_test(NAME compiles.${stem}.nvcc
             COMMAND sh ${compiles_script} ${CMAKE_CUDA_COMPILER} ${CMAKE_CURRENT_BINARY_DIR}/flags.CUDA ${case})
  endif()
endforeach()

# ---------------------------------------------------------------------------------------------- consumer projects
if(EXISTS ${umbrella})
  set(ways install subdirectory)
  if(PLIMSOLL_CUDA_ENABLED)
    list(APPEND ways install_cuda)
  endif()
  foreach(way IN LISTS ways)
    add_test(NAME consumer_${way}
             COMMAND ${CMAKE_COMMAND} -D WAY=${way} -D SOURCE=${PROJECT_SOURCE_DIR} -D BUILD=${PROJECT_BINARY_DIR}
                     -D WORK=${CMAKE_CURRENT_BINARY_DIR}/consumer_${way} -D COMPILER=${CMAKE_CXX_COMPILER}
                     -D CUDA_COMPILER=${CMAKE_CUDA_COMPILER} -D CONFIG=$<CONFIG> -P ${CMAKE_CURRENT_SOURCE_DIR}/consumer/run.cmake)
  endforeach()
endif()

# A program that asks for the devices there are does not become the Host's in silence.
if(PLIMSOLL_CUDA_ENABLED)
  add_test(NAME consumer_without_language.nvcc
           COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_SOURCE_DIR}/consumer
                   -B ${CMAKE_CURRENT_BINARY_DIR}/consumer_without_language -D CMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
                   -D PLIMSOLL_SUBDIRECTORY=${PROJECT_SOURCE_DIR} -D PLIMSOLL_CUDA=ON -D CONSUMER_DEVICES=ON)
  set_tests_properties(consumer_without_language.nvcc PROPERTIES PASS_REGULAR_EXPRESSION
                                                                  "this[ \n]+project[ \n]+not[ \n]+the[ \n]+language")
endif()

# ------------------------------------------------------------------------------------- what programs get of the library
if(EXISTS ${umbrella})
  set(libraries "")
  foreach(target IN ITEMS plimsoll::onednn ZLIB::ZLIB JPEG::JPEG PNG::PNG)
    if(TARGET ${target})
      list(APPEND libraries $<TARGET_FILE:${target}>)
    endif()
  endforeach()
  add_test(NAME library COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/library.sh ${CMAKE_CXX_COMPILER} ${flags}
                                $<TARGET_FILE:plimsoll_library> ${CMAKE_CURRENT_SOURCE_DIR}/consumer/main.cpp
                                ${CMAKE_CURRENT_BINARY_DIR}/library ${libraries})
endif()

# ------------------------------------------------------------------------------------------------- configuring
# tools/demo configures where doctest and Google Benchmark are not installed.
add_test(NAME configures_without_test_libraries
         COMMAND ${CMAKE_COMMAND} -S ${PROJECT_SOURCE_DIR} -B ${CMAKE_CURRENT_BINARY_DIR}/without_test_libraries
                 --fresh -D CMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -D PLIMSOLL_DOCTEST_INCLUDE=
                 -D CMAKE_DISABLE_FIND_PACKAGE_benchmark=ON)
