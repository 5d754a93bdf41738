# Every library comes from a distribution package; `make setup` installs them by name.
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
foreach(entry IN ITEMS jansson:jansson crypto:libcrypto pcre2:libpcre2-8 utf8proc:libutf8proc sqlite3:sqlite3 yaml:yaml-0.1 zlib:zlib)
    string(REPLACE ":" ";" pair ${entry})
    list(GET pair 0 name)
    list(GET pair 1 module)
    pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${module})
endforeach()

# libbz2 has no pkg-config file everywhere
find_package(BZip2 REQUIRED)

# The pthread flavour by its own path: the serial one is wrong under concurrent callers, the OpenMP one nests in our threads.
find_library(PARE_OPENBLAS_LIBRARY openblas PATH_SUFFIXES openblas-pthread REQUIRED)
find_path(PARE_OPENBLAS_INCLUDE cblas.h PATH_SUFFIXES openblas-pthread ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-pthread REQUIRED)
add_library(PkgConfig::openblas INTERFACE IMPORTED)
target_link_libraries(PkgConfig::openblas INTERFACE ${PARE_OPENBLAS_LIBRARY})
target_include_directories(PkgConfig::openblas SYSTEM INTERFACE ${PARE_OPENBLAS_INCLUDE})
