/* state: what run.c asks of the file of scores. */
#ifndef PARE_STATE_H
#define PARE_STATE_H

#include "task_impl.h"

/* Item i has its scores: they are written at once. */
bool pare_choice_state_add(const pare_choice_state *state, const pare_choice *choice, size_t i, pare_error *error) PARE_MUST_CHECK;

#endif
