/* targets: how much is to go, in all the words that pare compress takes it in, and how it is shared out over layers. */
#ifndef CLI_TARGETS_H
#define CLI_TARGETS_H

#include "cli.h"
#include "pare/compress.h"

/* A number of units that was not asked for: more than an option takes, so that 0 can be refused. */
#define TARGETS_UNSAID UINT32_MAX
#define TARGETS_NO_SHAPE ((pare_shape){TARGETS_UNSAID, TARGETS_UNSAID, TARGETS_UNSAID, TARGETS_UNSAID, TARGETS_UNSAID})

typedef struct {
    double ratio;                          /* NaN: not said */
    const char *parameters, *bytes, *macs; /* what is to be left at most */
    const char *as;                        /* the type that bytes count in; NULL: the output's */
    pare_shape shape;                      /* begins as TARGETS_NO_SHAPE */
    const char *keep_layers, *keep_blocks; /* the same by another name */
    const char *allocation;                /* NULL: uniform */
    uint32_t multiple;
} targets;

/* That one of them says how much, and that the words are known. USAGE. */
bool targets_check(const targets *given, pare_error *error) PARE_MUST_CHECK;
/* Does sharing out need a calibration text, whatever the method? */
bool targets_need_text(const targets *given);

/* What --method auto takes, for an output of the type; tokens of calibration there will be, 0 without a text. RANGE where nothing needs to
 * go: the model is small enough as it is. */
bool targets_recommend(pare_recommendation *recommendation, const targets *given, const pare_checkpoint *checkpoint, pare_dtype type,
                       uint64_t tokens, pare_error *error) PARE_MUST_CHECK;
/* The uniform plan, with the layers that stay whole. automatic: a ratio is one of the weights outside of embeddings. */
bool targets_plan(pare_plan *plan, const targets *given, const pare_method *method, const pare_config *config, pare_dtype type,
                  bool automatic, pare_error *error) PARE_MUST_CHECK;
/* What a ratio that removes nothing, or would leave nothing, could have been; and where the number of heads that is left can run. Silent
 * where there is nothing to say. */
void targets_say_limits(const targets *given, const pare_plan *plan, const pare_method *method, const pare_config *config,
                        const common *shared);
/* The plan's units shared out over layers as --allocation says. */
bool targets_allocate(pare_plan *plan, const targets *given, const pare_method *method, const pare_scores *scores,
                      const pare_checkpoint *checkpoint, const pare_calibration *calibration, const common *shared,
                      pare_error *error) PARE_MUST_CHECK;
/* Can the counts be told before there are scores? */
bool targets_known(const targets *given, const pare_plan *plan);

/* What of each row is kept, in words. */
void targets_print_kept(const targets *given, const pare_plan *plan, const char *method, const pare_config *config);

#endif
