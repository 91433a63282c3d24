# `cmake --install`, then `find_package(plimsoll)` or `find_package(plimsoll COMPONENTS cuda)`.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(plimsoll_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/plimsoll)
install(TARGETS plimsoll EXPORT plimsoll-targets FILE_SET HEADERS)
install(TARGETS plimsoll_native EXPORT plimsoll-targets)
install(EXPORT plimsoll-targets NAMESPACE plimsoll:: DESTINATION ${plimsoll_package_dir})
if(PLIMSOLL_CUDA_ENABLED)
  install(TARGETS plimsoll_cuda EXPORT plimsoll-cuda-targets FILE_SET HEADERS)
  install(EXPORT plimsoll-cuda-targets NAMESPACE plimsoll:: DESTINATION ${plimsoll_package_dir})
endif()

foreach(name OpenMP_CXX_FOUND ZLIB_FOUND JPEG_FOUND PNG_FOUND)
  set(plimsoll_${name} OFF)
  if(${name})
    set(plimsoll_${name} ON)
  endif()
endforeach()
foreach(library onednn protozero)
  set(plimsoll_${library}_FOUND OFF)
  if(TARGET plimsoll::${library})
    set(plimsoll_${library}_FOUND ON)
  endif()
endforeach()
configure_package_config_file(cmake/plimsoll-config.cmake.in ${PROJECT_BINARY_DIR}/plimsoll-config.cmake
                              INSTALL_DESTINATION ${plimsoll_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/plimsoll-config-version.cmake
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/plimsoll-config.cmake ${PROJECT_BINARY_DIR}/plimsoll-config-version.cmake
              cmake/PlimsollDependencies.cmake cmake/PlimsollDevices.cmake
              cmake/PlimsollLibrary.cmake DESTINATION ${plimsoll_package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
