/* method: the methods that score.c's table lists. */
#ifndef PARE_METHOD_H
#define PARE_METHOD_H

#include "pare/compress.h"

extern const pare_method pare_method_random, pare_method_magnitude, pare_method_wanda_sp;

#endif
