# One static library per layer. A layer sees include/pare, its own folder, and nothing of its neighbours' folders.
set(PARE_LAYERS "" CACHE INTERNAL "")

function(pare_layer name)
    cmake_parse_arguments(LAYER "" "" "DEPENDS;LIBRARIES" ${ARGN})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.c)
    add_library(pare_${name} STATIC ${sources})
    set_target_properties(pare_${name} PROPERTIES LINKER_LANGUAGE C)
    target_include_directories(pare_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        PRIVATE ${PROJECT_SOURCE_DIR}/src/${name})
    set(layers ${LAYER_DEPENDS})
    list(TRANSFORM layers PREPEND pare_)
    target_link_libraries(pare_${name} PUBLIC ${layers} ${LAYER_LIBRARIES})
    set(PARE_LAYERS ${PARE_LAYERS} pare_${name} CACHE INTERNAL "")
endfunction()

# Kernel variants: the file's prefix says what it may use; dispatch.c asks the processor before it calls.
function(pare_kernel_flags)
    file(GLOB avx2 CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/tensor/kernel/avx2_*.c)
    file(GLOB avx512 CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/tensor/kernel/avx512_*.c)
    file(GLOB amx CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/tensor/kernel/amx_*.c)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        set_source_files_properties(${avx2} TARGET_DIRECTORY pare_tensor PROPERTIES COMPILE_OPTIONS "-O3;-mavx2;-mfma;-mf16c")
        set_source_files_properties(${avx512} TARGET_DIRECTORY pare_tensor PROPERTIES COMPILE_OPTIONS
            "-O3;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mfma;-mf16c")
        set_source_files_properties(${amx} TARGET_DIRECTORY pare_tensor PROPERTIES COMPILE_OPTIONS
            "-O3;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512bf16;-mamx-tile;-mamx-bf16")
    else()
        set_source_files_properties(${avx2} ${avx512} ${amx} TARGET_DIRECTORY pare_tensor PROPERTIES HEADER_FILE_ONLY ON)
    endif()
endfunction()

# The report's page and its chart library become bytes inside the program.
function(pare_report_assets)
    if(EXISTS ${PROJECT_SOURCE_DIR}/cmake/report.cmake)
        include(${PROJECT_SOURCE_DIR}/cmake/report.cmake)
    endif()
endfunction()

# build/pare: every layer, linked whole through their public faces.
function(pare_program)
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.c)
    if(sources)
        add_executable(pare ${sources})
        target_include_directories(pare PRIVATE ${PROJECT_SOURCE_DIR}/src/cli)
        target_link_libraries(pare PRIVATE pare_lab pare_report)
        set_target_properties(pare PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
        install(TARGETS pare RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    endif()
endfunction()

# One libpare.a out of all layers, the headers, and pare.pc.
function(pare_install)
    set(objects)
    foreach(layer IN LISTS PARE_LAYERS)
        list(APPEND objects $<TARGET_OBJECTS:${layer}>)
    endforeach()
    add_library(pare_library STATIC ${objects})
    set_target_properties(pare_library PROPERTIES OUTPUT_NAME pare LINKER_LANGUAGE C)
    # relative, so that `cmake --install --prefix` may put it anywhere
    file(RELATIVE_PATH PARE_PREFIX_FROM_PC /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
    configure_file(${PROJECT_SOURCE_DIR}/cmake/pare.pc.in ${PROJECT_BINARY_DIR}/pare.pc @ONLY)
    install(TARGETS pare_library ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pare DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(FILES ${PROJECT_BINARY_DIR}/pare.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
