/* score: the table of methods, the units they score, and the frame that every method's scoring runs in. A new method is one file in
 * method/ and one line here. */
#include <stdio.h>
#include <string.h>

#include "method/method.h"

const pare_method *const pare_methods[] = {
    &pare_method_random,
    &pare_method_magnitude,
    &pare_method_wanda_sp,
    &pare_method_activation,
    &pare_method_flap,
    &pare_method_prunenet,
    &pare_method_lila,
    &pare_method_taylor,
    &pare_method_surgeon,
    &pare_method_random_groups,
    &pare_method_magnitude_groups,
    &pare_method_wanda_sp_groups,
    &pare_method_activation_groups,
    &pare_method_flap_groups,
    &pare_method_taylor_groups,
    &pare_method_surgeon_groups,
    &pare_method_random_heads,
    &pare_method_magnitude_heads,
    &pare_method_wanda_sp_heads,
    &pare_method_activation_heads,
    &pare_method_flap_heads,
    &pare_method_taylor_heads,
    &pare_method_magnitude_channels,
    &pare_method_activation_channels,
    &pare_method_slice,
    &pare_method_slice_global,
    &pare_method_last_layers,
    &pare_method_shortgpt,
    &pare_method_perplexity_layers,
    &pare_method_taylor_all,
    &pare_method_surgeon_all,
    &pare_method_svd,
    &pare_method_svd_llm,
    NULL,
};

const pare_method *pare_method_find(const char *name, pare_error *error) {
    enum { METHODS_MAX = 64 };
    const char *names[METHODS_MAX];
    size_t n = 0;
    pare_string known = {0};
    for (const pare_method *const *m = pare_methods; *m; m++) {
        if (strcmp((*m)->name, name) == 0) {
            pare_string_free(&known);
            return *m;
        }
        pare_string_print(&known, "%s%s", known.length ? ", " : "", (*m)->name);
        if (n < METHODS_MAX)
            names[n++] = (*m)->name;
    }
    const char *near = pare_nearest(name, names, n);
    pare_fail(error, PARE_ERROR_USAGE, "unknown method \"%s\"%s%s%s The methods are %s", name, near ? "; did you mean " : "",
              near ? near : "", near ? "?" : ".", known.data ? known.data : "none");
    pare_string_free(&known);
    return NULL;
}

/* ---- units ---- */

const char *pare_unit_name(pare_unit unit) {
    static const char *const names[PARE_UNITS] = {"FFN neurons",
                                                  "key-value heads",
                                                  "query heads",
                                                  "residual channels",
                                                  "residual coordinates",
                                                  "residual coordinates of each norm",
                                                  "layers",
                                                  "weights of each layer",
                                                  "singular directions"};
    return names[unit];
}

/* Hardware likes multiples of widths; heads and layers are few, and ranks follow from weights. */
bool pare_unit_aligned(pare_unit unit) {
    return unit == PARE_UNIT_FFN || pare_unit_of_width(unit) || unit == PARE_UNIT_SEVERAL;
}

bool pare_unit_of_width(pare_unit unit) {
    return unit == PARE_UNIT_CHANNELS || unit == PARE_UNIT_COORDINATES || unit == PARE_UNIT_BLOCK_COORDINATES;
}

bool pare_unit_own_format(pare_unit unit) {
    return unit == PARE_UNIT_BLOCK_COORDINATES || unit == PARE_UNIT_DIRECTIONS;
}

const char *pare_unit_place(char text[64], pare_unit unit, const pare_config *config) {
    if (pare_unit_of_width(unit) || unit == PARE_UNIT_LAYERS || unit == PARE_UNIT_SEVERAL)
        text[0] = '\0';
    else
        snprintf(text, 64, " in each of %u %s", config->n_layers * (unit == PARE_UNIT_HEADS ? config->n_kv_heads : 1),
                 unit == PARE_UNIT_HEADS ? "groups" : "layers");
    return text;
}

bool pare_scores_shape(pare_scores *scores, pare_unit unit, const pare_config *c, pare_error *error) {
    if (c->shapes)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "the layers of this model differ in shape; pare cuts models whose layers are alike");
    if (c->ranks)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "matrices of this model are products of two factors already; cut the model that it was made from");
    if (c->shortcuts)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "the residual stream of this model is rotated at each norm already; cut the model that it was made from");
    *scores = (pare_scores){.unit = unit, .n_rows = c->n_layers};
    switch (unit) {
    case PARE_UNIT_FFN: scores->n_units = c->ffn_width; break;
    case PARE_UNIT_GROUPS: scores->n_units = c->n_kv_heads; break;
    case PARE_UNIT_HEADS:
        scores->n_rows = c->n_layers * c->n_kv_heads;
        scores->n_units = c->n_heads / c->n_kv_heads;
        break;
    case PARE_UNIT_CHANNELS:
    case PARE_UNIT_COORDINATES:
    case PARE_UNIT_BLOCK_COORDINATES:
        scores->n_rows = 1;
        scores->n_units = c->width;
        break;
    case PARE_UNIT_LAYERS:
        scores->n_rows = 1;
        scores->n_units = c->n_layers;
        break;
    case PARE_UNIT_SEVERAL: scores->n_units = c->ffn_width + c->n_kv_heads; break;
    case PARE_UNIT_DIRECTIONS: /* of all seven matrices together */
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            pare_linear_shape s = pare_config_linear(c, 0, (pare_projection)p);
            scores->n_units += (uint32_t)(s.out < s.in ? s.out : s.in);
        }
        break;
    case PARE_UNITS: break;
    }
    return true;
}

/* ---- scoring ---- */

bool pare_score(pare_scores *scores, const pare_method *method, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                uint64_t seed, const pare_context *context, pare_error *error) {
    if (!pare_scores_shape(scores, method->unit, &checkpoint->config, error))
        return false;
    if (method->calibrated && (!calibration || (!method->text_only && !calibration->similarity)))
        return pare_fail(error, PARE_ERROR_USAGE, "method %s looks at %s: it needs a calibration text", method->name,
                         method->text_only ? "losses" : "activations");
    if (!method->score)
        return true;
    scores->values = pare_allocate((size_t)scores->n_rows * scores->n_units, sizeof(double), error);
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
