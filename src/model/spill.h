/* spill: large tensors that a cut makes, in an unlinked temporary file that is mapped: the system writes them out when memory runs short,
 * and they can be let go of one layer after another. */
#ifndef MODEL_SPILL_H
#define MODEL_SPILL_H

#include "pare/base.h"

typedef struct pare_spill pare_spill;

/* Zeros of so many bytes, page-aligned, the spill's own; *spill NULL: opened, in $TMPDIR, else /var/tmp. Space on the disk is taken at
 * once: a full one is an error here (IO, naming the folder) and no fault later. */
void *spill_push(pare_spill **spill, size_t bytes, pare_error *error);
/* Lets go of all pages; what they hold stays in the file. */
void spill_drop(const pare_spill *spill);
bool spill_holds(const pare_spill *spill, const void *at); /* NULL holds nothing */
void spill_close(pare_spill *spill);                       /* NULL is fine */

#endif
