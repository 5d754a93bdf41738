# The report's page, style, script and chart library become read-only bytes of pare_report (included by pare_report_assets()).
# Each file is named in an .incbin of one generated C file, which gcc and clang assemble alike; a changed file rebuilds it.
set(report_chart_library ${PROJECT_SOURCE_DIR}/.cache/pare/plotly.min.js)
set(report_chart_licence ${PROJECT_SOURCE_DIR}/.cache/pare/plotly.license.txt)
if(NOT EXISTS ${report_chart_library} OR NOT EXISTS ${report_chart_licence})
    message(FATAL_ERROR "The report's chart library is not there yet. Fetch it (once) with\n  tools/fetch_chart_library.sh\n"
        "and configure again. `make setup` does this too.")
endif()

set(report_assets
    page_html ${PROJECT_SOURCE_DIR}/src/report/page.html
    page_css ${PROJECT_SOURCE_DIR}/src/report/page.css
    page_js ${PROJECT_SOURCE_DIR}/src/report/page.js
    chart_library ${report_chart_library}
    chart_licence ${report_chart_licence})

set(report_assets_source "/* Made by cmake/report.cmake. */\n#include \"report_impl.h\"\n")
set(report_asset_files)
while(report_assets)
    list(POP_FRONT report_assets name file)
    list(APPEND report_asset_files ${file})
    string(APPEND report_assets_source "
__asm__(\".section .rodata\\n.balign 16\\nreport_bytes_${name}:\\n.incbin \\\"${file}\\\"\\nreport_end_${name}:\\n.byte 0\\n.previous\\n\");
extern const char report_bytes_${name}[], report_end_${name}[];
report_asset report_asset_${name}(void) {
    return (report_asset){report_bytes_${name}, (size_t)(report_end_${name} - report_bytes_${name})};
}
")
endwhile()

set(report_assets_file ${PROJECT_BINARY_DIR}/report_assets.c)
file(CONFIGURE OUTPUT ${report_assets_file} CONTENT "${report_assets_source}" @ONLY)
set_source_files_properties(${report_assets_file} TARGET_DIRECTORY pare_report PROPERTIES OBJECT_DEPENDS "${report_asset_files}")
target_sources(pare_report PRIVATE ${report_assets_file})
