/* map: the table of what is mapped (map.c), for maps of files and for spills. */
#ifndef PARE_BASE_MAP_H
#define PARE_BASE_MAP_H

#include "pare/base.h"

/* Enters `size` bytes at `data` under `name`; mapping_forget takes them out again. */
bool mapping_note(const void *data, size_t size, const char *name, pare_error *error) PARE_MUST_CHECK;
void mapping_forget(const void *data);

#endif
