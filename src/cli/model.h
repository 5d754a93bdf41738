/* model: a model as a command opens it. */
#ifndef PARE_CLI_MODEL_H
#define PARE_CLI_MODEL_H

#include "cli.h"
#include "pare/model.h"

/* pare_checkpoint_open, with a note of what was read although it is no strict JSON. */
pare_checkpoint *open_model(const char *path, const common *shared, pare_error *error) PARE_MUST_CHECK;

#endif
