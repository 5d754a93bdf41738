/* made: how a model was made, for people. */
#ifndef PARE_CLI_MADE_H
#define PARE_CLI_MADE_H

#include "pare/model.h"

/* A line or two for each step on the way to this checkpoint, the last one first; nothing where none is told. */
void made_print(const pare_checkpoint *checkpoint);

#endif
