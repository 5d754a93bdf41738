# The task files of share/pare/tasks become read-only bytes of pare_eval, and are installed for people to copy from.
file(GLOB task_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/share/pare/tasks/*.yaml)
set(task_names)
set(task_rows)
set(task_bytes)
foreach(file IN LISTS task_files)
    get_filename_component(name ${file} NAME_WE)
    string(APPEND task_names "    \"${name}\",\n")
    string(APPEND task_rows "        {task_bytes_${name}, (size_t)(task_end_${name} - task_bytes_${name})},\n")
    string(APPEND task_bytes "
__asm__(\".section .rodata\\ntask_bytes_${name}:\\n.incbin \\\"${file}\\\"\\ntask_end_${name}:\\n.byte 0\\n.previous\\n\");
extern const char task_bytes_${name}[], task_end_${name}[];
")
endforeach()
set(task_source "/* Made by cmake/tasks.cmake. */\n#include \"choice/task_impl.h\"\n${task_bytes}
const char *const pare_task_names[] = {
${task_names}    NULL,
};

task_shipped pare_task_shipped(size_t i) {
    const task_shipped files[] = {
${task_rows}    };
    return files[i];
}
")
set(task_source_file ${PROJECT_BINARY_DIR}/task_files.c)
file(CONFIGURE OUTPUT ${task_source_file} CONTENT "${task_source}" @ONLY)
set_source_files_properties(${task_source_file} TARGET_DIRECTORY pare_eval PROPERTIES OBJECT_DEPENDS "${task_files}")
target_sources(pare_eval PRIVATE ${task_source_file})
install(FILES ${task_files} DESTINATION ${CMAKE_INSTALL_DATADIR}/pare/tasks)
