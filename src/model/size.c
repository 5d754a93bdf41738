/* size: what a model costs: parameters, bytes, multiply-accumulates. */
#include <string.h>

#include "format/format.h"
#include "pare/cut.h"

/* Every matrix but the embedding does one multiply-accumulate per weight and token; a tied embedding does so as the head. */
static bool add_tensor(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    pare_size *size = user;
    (void)error;
    bool embedding = strcmp(name, "model.embed_tokens.weight") == 0;
    bool head = strcmp(name, "lm_head.weight") == 0;
    uint64_t n = n_dims == 2 ? dims[0] * dims[1] : dims[0];
    size->parameters += n;
    size->non_embedding += embedding || head ? 0 : n;
    size->macs += n_dims == 2 && !embedding ? n : 0;
    return true;
}

pare_size pare_config_size(const pare_config *config) {
    pare_size size = {0};
    if (!pare_config_visit_tensors(config, add_tensor, &size, NULL))
        return (pare_size){0}; /* add_tensor never stops it */
    if (config->tied)
        size.macs += (uint64_t)config->vocabulary * config->width;
    return size;
}

typedef struct {
    const pare_dtype_traits *traits;
    uint64_t bytes;
} type_count;

static bool add_as_type(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    type_count *count = user;
    const pare_dtype_traits *t = count->traits;
    (void)name, (void)error;
    uint64_t n = n_dims == 2 ? dims[0] * dims[1] : dims[0];
    if (t->quantised && n_dims == 1)
        t = pare_dtype_info(PARE_DTYPE_F32);
    else if (n_dims == 2 && dims[1] % t->block != 0)
        t = pare_dtype_info(PARE_DTYPE_F16);
    count->bytes += n / t->block * t->bytes;
    return true;
}

uint64_t pare_config_bytes(const pare_config *config, pare_dtype dtype) {
    type_count count = {.traits = pare_dtype_info(dtype)};
    if (!pare_config_visit_tensors(config, add_as_type, &count, NULL))
        return 0; /* add_as_type never stops it */
    return count.bytes;
}

/* Bytes of the view in a type. Kept columns of a block type are counted at the type's bytes per weight. */
static uint64_t view_bytes(const pare_view *view, pare_dtype dtype) {
    const pare_dtype_traits *traits = pare_dtype_info(dtype);
    uint64_t weights = (uint64_t)view->n_rows * view->n_columns;
    return weights / traits->block * traits->bytes + weights % traits->block * traits->bytes / traits->block;
}

typedef struct {
    const pare_checkpoint *checkpoint;
    const pare_cut *cut;
    uint64_t bytes;
} byte_count;

static bool add_bytes(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    byte_count *count = user;
    pare_view view;
    (void)dims, (void)error;
    if (!pare_cut_find(&view, count->cut, count->checkpoint, name)) /* a bias may be there in the config alone: zeros */
        return true;
    bool own =
        count->cut && n_dims == 2 && view.tensor >= count->cut->replaced && view.tensor < count->cut->replaced + count->cut->n_replaced;
    count->bytes += view_bytes(&view, own ? count->checkpoint->dtype : view.tensor->dtype); /* a cut's own f32 goes back to what it was */
    return true;
}

pare_size pare_checkpoint_size(const pare_checkpoint *checkpoint, const pare_cut *cut) {
    const pare_config *config = pare_cut_config(cut, checkpoint);
    pare_size size = pare_config_size(config);
    byte_count count = {.checkpoint = checkpoint, .cut = cut};
    if (pare_config_visit_tensors(config, add_bytes, &count, NULL)) /* add_bytes never stops it */
        size.bytes = count.bytes;
    return size;
}
