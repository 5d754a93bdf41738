# C17 with POSIX, strict warnings, no value-changing floating point options. Machine code is chosen at run time
# (src/tensor/kernel/dispatch.c), never by -march=native.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

add_compile_definitions(_POSIX_C_SOURCE=200809L _XOPEN_SOURCE=700 _DEFAULT_SOURCE)
add_compile_options(
    -Wall -Wextra -pedantic -Wshadow -Wconversion -Wsign-conversion -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wcast-qual -Wformat=2 -Wundef -Wvla -Wwrite-strings -Wnull-dereference -Wimplicit-fallthrough
    -fno-math-errno -ffp-contract=off)
if(PARE_WERROR)
    add_compile_options(-Werror)
endif()
if(PARE_SANITIZE)
    if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
        add_compile_options(-Wno-pass-failed) # instrumented loops do not become vectors, whatever `omp simd` asks
    endif()
    add_compile_options(-fsanitize=${PARE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${PARE_SANITIZE})
endif()
