# What ROS 2 from PyPI needs so that a build against it works. Changes nothing on a usual
# ROS 2 install.

# pip puts ROS's share/ and lib/ right under the Python environment: look there too.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND ${Python3_EXECUTABLE} -c "import sys; print(sys.prefix)"
  OUTPUT_VARIABLE python_prefix OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(EXISTS ${python_prefix}/share/ament_cmake)
  list(PREPEND CMAKE_PREFIX_PATH ${python_prefix})
  set(ENV{AMENT_PREFIX_PATH} "${python_prefix}:$ENV{AMENT_PREFIX_PATH}")
endif()

# The wheels' targets name include directories of the machine that built them, and CMake refuses
# targets with directories that don't exist. Deferred to the end, when all targets are known.
function(drop_missing_include_directories)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(present "")
    foreach(directory IN LISTS directories)
      if(directory MATCHES "^\\$<" OR EXISTS ${directory})
        list(APPEND present ${directory})
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${present}")
  endforeach()
endfunction()
cmake_language(DEFER CALL drop_missing_include_directories)
