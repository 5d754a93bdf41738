/* context: threads, progress and cancellation, handed down; and the two clocks a result carries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "pare/base.h"

int pare_context_threads(const pare_context *context) {
    return context && context->n_threads > 0 ? context->n_threads : 1;
}

void pare_context_progress(const pare_context *context, const char *stage, double done, double total) {
    if (context && context->progress)
        context->progress(context->user, stage, done, total);
}

void pare_context_note(const pare_context *context, const char *format, ...) {
    char text[1024];
    if (!context || !context->note)
        return;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    context->note(context->user, text);
}

bool pare_context_check(const pare_context *context, pare_error *error) {
    if (context && context->cancel && *context->cancel)
        return pare_fail(error, PARE_ERROR_CANCELLED, "interrupted");
    return true;
}

double pare_clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double pare_memory_machine(void) {
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

void pare_memory_peak_restart(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file)
        return;
    fprintf(file, "5\n"); /* proc(5): the peak becomes what is resident now */
    fclose(file);
}

/* VmHWM, the peak that a restart affects; where there is no /proc, that of the process's whole life. */
double pare_memory_peak_mib(void) {
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && kib == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtod(line + 6, NULL);
    if (file)
        fclose(file);
    struct rusage usage;
    if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0)
        kib = (double)usage.ru_maxrss;
    return kib / 1024.0;
}
