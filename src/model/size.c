/* size: what a cut leaves, as views and as counts.
 *
 * An FFN cut takes rows of gate_proj and up_proj (and their biases) and columns of down_proj; everything else stays whole.
 */
#include <stdio.h>
#include <string.h>

#include "format/format.h"

/* ---- cuts ---- */

/* The layer and the part of "model.layers.<layer>.mlp.<part>"; NULL for every other tensor. */
static const char *ffn_part(uint32_t *layer, const char *name) {
    static const char prefix[] = "model.layers.", middle[] = ".mlp.";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return NULL;
    const char *at = name + sizeof prefix - 1;
    uint64_t number = 0;
    for (; *at >= '0' && *at <= '9' && number < UINT32_MAX; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    if (number > UINT32_MAX || strncmp(at, middle, sizeof middle - 1) != 0)
        return NULL;
    *layer = (uint32_t)number;
    return at + sizeof middle - 1;
}

pare_view pare_cut_view(const pare_cut *cut, const pare_tensor *tensor) {
    pare_view view = pare_view_all(tensor);
    uint32_t layer = 0;
    const char *part = cut ? ffn_part(&layer, tensor->name) : NULL;
    if (!part || layer >= cut->n_layers)
        return view;
    const uint32_t *kept = cut->kept + (size_t)layer * cut->n_kept;
    if (strcmp(part, "down_proj.weight") == 0) {
        view.columns = kept;
        view.n_columns = cut->n_kept;
    } else if (strncmp(part, "gate_proj.", 10) == 0 || strncmp(part, "up_proj.", 8) == 0) {
        view.rows = kept;
        view.n_rows = cut->n_kept;
    }
    return view;
}

pare_config pare_cut_config(const pare_cut *cut, const pare_config *config) {
    pare_config smaller = *config;
    if (cut)
        smaller.ffn_width = cut->n_kept;
    return smaller;
}

/* ---- counts ---- */

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

/* Bytes of the view in the tensor's own type. Kept columns of a block type are counted at the type's bytes per weight. */
static uint64_t view_bytes(const pare_view *view) {
    const pare_dtype_traits *traits = pare_dtype_info(view->tensor->dtype);
    uint64_t weights = (uint64_t)view->n_rows * view->n_columns;
    return weights / traits->block * traits->bytes + weights % traits->block * traits->bytes / traits->block;
}

pare_size pare_checkpoint_size(const pare_checkpoint *checkpoint, const pare_cut *cut) {
    pare_config config = pare_cut_config(cut, &checkpoint->config);
    pare_size size = pare_config_size(&config);
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        pare_view view = pare_cut_view(cut, &checkpoint->tensors[i]);
        size.bytes += view_bytes(&view);
    }
    return size;
}
