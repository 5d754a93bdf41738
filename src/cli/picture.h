/* picture: a training's loss curve as a small SVG file. */
#ifndef PARE_CLI_PICTURE_H
#define PARE_CLI_PICTURE_H

#include "pare/tune.h"

/* FOLDER/loss.svg: loss of every step (thin), its running mean, held-out evaluations as dots; against tokens. */
bool picture_write(const char *folder, const pare_tune_result *result, pare_error *error) PARE_MUST_CHECK;

#endif
