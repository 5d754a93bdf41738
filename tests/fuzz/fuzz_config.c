/* Any bytes as a config.json: refused, or a configuration that passes its own check and can be visited. */
#include <stdlib.h>

#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool count(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    (void)name;
    if (n_dims == 0 || n_dims > 2 || dims[0] == 0)
        abort();
    return ++*(int *)user < 1000 || pare_fail(error, PARE_ERROR_CANCELLED, "enough");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    pare_error error = {0};
    pare_config config;
    pare_arena *arena = pare_arena_open(&error);
    json_t *json = pare_json_parse((const char *)bytes, n, "fuzz.json", &error);
    if (json && pare_hf_config_read(&config, json, "fuzz.json", arena, &error)) {
        int seen = 0;
        if (!pare_config_check(&config, "fuzz.json", &error))
            abort();
        if (!pare_config_visit_tensors(&config, count, &seen, &error) && seen < 1000)
            abort();
    }
    json_decref(json);
    pare_arena_close(arena);
    return 0;
}
