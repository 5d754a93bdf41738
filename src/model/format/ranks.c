/* ranks: which matrices of a layer are products of two factors, as pare's own config.json says it: {"q_proj": 100, …}; a matrix that is
 * not named is whole. */
#include <string.h>

#include "format.h"

static bool read_rank(pare_layer_ranks *ranks, const char *name, const json_t *value, uint32_t layer, const char *what, pare_error *error) {
    int p = 0;
    while (p < PARE_PROJECTIONS && strcmp(name, pare_projection_name((pare_projection)p)) != 0)
        p++;
    if (p == PARE_PROJECTIONS)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: layer %u: a rank for \"%.60s\", which is none of the seven projections", what,
                         layer, name);
    json_int_t rank = json_is_integer(value) ? json_integer_value(value) : 0;
    if (rank < 1 || rank > UINT32_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: layer %u: the rank of %s is no number above 0; leave it out for a whole matrix",
                         what, layer, name);
    ranks->of[p] = (uint32_t)rank;
    return true;
}

bool pare_ranks_read(pare_layer_ranks *ranks, const json_t *json, uint32_t layer, const char *what, pare_error *error) {
    const char *name;
    json_t *value;
    *ranks = (pare_layer_ranks){{0}};
    if (json && !json_is_object(json))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: layer %u: \"ranks\" is not an object", what, layer);
    json_object_foreach((json_t *)(uintptr_t)json, name, value) if (!read_rank(ranks, name, value, layer, what, error)) return false;
    return true;
}

json_t *pare_ranks_write(const pare_layer_ranks *ranks) {
    json_t *json = NULL;
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        if (ranks->of[p]) {
            json = json ? json : json_object();
            json_object_set_new(json, pare_projection_name((pare_projection)p), json_integer(ranks->of[p]));
        }
    return json;
}
