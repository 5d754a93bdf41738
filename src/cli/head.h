/* head: what commands that write a model do about a head that is the embedding quantised again. */
#ifndef PARE_CLI_HEAD_H
#define PARE_CLI_HEAD_H

#include "cli.h"
#include "pare/model.h"

#define HEAD_OPTION(target)                                                                                                                \
    { "tie", 0, OPTION_FLAG, NULL, "write one matrix for the embedding and for a head that is the embedding quantised again", target }

/* tie: makes one matrix of the two (RANGE where they differ). Otherwise tells what the second one costs. Before anything is planned. */
bool head_settle(pare_checkpoint *checkpoint, bool tie, const common *shared, pare_error *error) PARE_MUST_CHECK;

#endif
