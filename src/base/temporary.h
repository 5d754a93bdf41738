/* temporary: an output under its temporary name, from its making to its publication (temporary.c). */
#ifndef PARE_BASE_TEMPORARY_H
#define PARE_BASE_TEMPORARY_H

#include "pare/base.h"

typedef struct {
    char *path; /* where the output goes, without slashes at its end */
    char *name; /* where it is until then: path.partial-PID */
    int lock;   /* held as long as the process lives */
    bool folder;
} temporary;

/* Where the output goes: `path` without slashes at its end. Strings lie in the arena. */
bool temporary_name(temporary *t, const char *path, bool folder, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
/* Makes the file or folder under its temporary name, after what dead processes left of it was removed. *fd: the file, open for writing
 * (NULL for a folder). */
bool temporary_open(temporary *t, int *fd, pare_error *error) PARE_MUST_CHECK;
/* Gives it its own name and lets go of it. CONFLICT where something else is there and `replace` is false. After a failure it is still there
 * under its temporary name, for temporary_remove. */
bool temporary_publish(temporary *t, bool replace, pare_error *error) PARE_MUST_CHECK;
void temporary_remove(temporary *t);

#endif
