/* context: threads, progress and cancellation, handed down; and the two clocks a result carries. */
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

double pare_memory_peak_mib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024.0;
}
