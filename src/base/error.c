/* error: the one error type. The place that fails fills it; only src/cli prints it. */
#include <stdio.h>

#include "pare/base.h"

void pare_error_set(pare_error *error, pare_code code, const char *format, ...) {
    if (error) {
        error->code = code;
        va_list list;
        va_start(list, format);
        vsnprintf(error->message, sizeof error->message, format, list);
        va_end(list);
    }
}

const char *pare_code_name(pare_code code) {
    switch (code) {
    case PARE_OK: return "ok";
    case PARE_ERROR_MEMORY: return "memory";
    case PARE_ERROR_IO: return "io";
    case PARE_ERROR_FORMAT: return "format";
    case PARE_ERROR_SHAPE: return "shape";
    case PARE_ERROR_RANGE: return "range";
    case PARE_ERROR_NUMERIC: return "numeric";
    case PARE_ERROR_UNSUPPORTED: return "unsupported";
    case PARE_ERROR_CONFLICT: return "conflict";
    case PARE_ERROR_CANCELLED: return "cancelled";
    case PARE_ERROR_USAGE: return "usage";
    }
    return "unknown";
}
