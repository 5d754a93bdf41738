/* score: the table of methods, and the frame that every method's scoring runs in. A new method is one file in method/ and one
 * line here. */
#include <stdio.h>
#include <string.h>

#include "method/method.h"

const pare_method *const pare_methods[] = {
    &pare_method_random,
    &pare_method_magnitude,
    &pare_method_wanda_sp,
    NULL,
};

const pare_method *pare_method_find(const char *name, pare_error *error) {
    pare_string known = {0};
    for (const pare_method *const *m = pare_methods; *m; m++) {
        if (strcmp((*m)->name, name) == 0) {
            pare_string_free(&known);
            return *m;
        }
        pare_string_print(&known, "%s%s", known.length ? ", " : "", (*m)->name);
    }
    pare_fail(error, PARE_ERROR_USAGE, "unknown method \"%s\"; there are %s", name, known.data ? known.data : "none");
    pare_string_free(&known);
    return NULL;
}

bool pare_score(pare_scores *scores, const pare_method *method, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                uint64_t seed, const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    *scores = (pare_scores){.n_layers = c->n_layers, .ffn_width = c->ffn_width};
    if (method->calibrated && !calibration)
        return pare_fail(error, PARE_ERROR_USAGE, "method %s looks at activations: it needs a calibration text", method->name);
    scores->values = pare_allocate((size_t)c->n_layers * c->ffn_width, sizeof(double), error);
    if (!scores->values)
        return false;
    if (method->score(scores, checkpoint, calibration, seed, context, error))
        return true;
    pare_scores_free(scores);
    return false;
}

void pare_scores_free(pare_scores *scores) {
    pare_free(scores->values);
    *scores = (pare_scores){0};
}
