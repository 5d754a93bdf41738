/* cut: the units that survive, as index lists, and the views that they leave of stored tensors.
 *
 * One table says which units the rows and the columns of each tensor belong to; everything else follows from it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cut_impl.h"
#include "format/format.h"

enum { SPILL_BYTES = 1 << 16 }; /* smaller tensors stay in memory */

const cut_axes cut_table[] = {
    {"input_layernorm.weight", AXIS_CHANNELS, AXIS_WHOLE},
    {"self_attn.q_proj.weight", AXIS_Q, AXIS_CHANNELS},
    {"self_attn.q_proj.bias", AXIS_Q, AXIS_WHOLE},
    {"self_attn.k_proj.weight", AXIS_KV, AXIS_CHANNELS},
    {"self_attn.k_proj.bias", AXIS_KV, AXIS_WHOLE},
    {"self_attn.v_proj.weight", AXIS_KV, AXIS_CHANNELS},
    {"self_attn.v_proj.bias", AXIS_KV, AXIS_WHOLE},
    {"self_attn.o_proj.weight", AXIS_CHANNELS, AXIS_Q},
    {"self_attn.o_proj.bias", AXIS_CHANNELS, AXIS_WHOLE},
    {"self_attn.shortcut.weight", AXIS_CHANNELS, AXIS_CHANNELS},
    {"post_attention_layernorm.weight", AXIS_CHANNELS, AXIS_WHOLE},
    {"mlp.gate_proj.weight", AXIS_FFN, AXIS_CHANNELS},
    {"mlp.gate_proj.bias", AXIS_FFN, AXIS_WHOLE},
    {"mlp.up_proj.weight", AXIS_FFN, AXIS_CHANNELS},
    {"mlp.up_proj.bias", AXIS_FFN, AXIS_WHOLE},
    {"mlp.down_proj.weight", AXIS_CHANNELS, AXIS_FFN},
    {"mlp.down_proj.bias", AXIS_CHANNELS, AXIS_WHOLE},
    {"mlp.shortcut.weight", AXIS_CHANNELS, AXIS_CHANNELS},
    {"model.embed_tokens.weight", AXIS_WHOLE, AXIS_CHANNELS},
    {"model.norm.weight", AXIS_CHANNELS, AXIS_WHOLE},
    {"lm_head.weight", AXIS_WHOLE, AXIS_CHANNELS},
};
const size_t cut_table_length = sizeof cut_table / sizeof *cut_table;

/* ---- opening ---- */

static pare_layer_cut whole_layer(const pare_config *c, uint32_t layer) {
    pare_layer_shape s = pare_config_layer(c, layer);
    return (pare_layer_cut){.ffn = {s.ffn_width, NULL},
                            .heads = {s.n_heads, NULL},
                            .kv_heads = {s.n_kv_heads, NULL},
                            .q_rows = {s.n_heads * c->head_dim, NULL},
                            .kv_rows = {s.n_kv_heads * c->head_dim, NULL},
                            .ranks = c->ranks ? c->ranks[layer] : (pare_layer_ranks){{0}}};
}

pare_cut *pare_cut_open(const pare_config *source, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_cut *cut = arena ? PARE_PUSH(arena, pare_cut, 1, error) : NULL;
    if (cut) {
        *cut = (pare_cut){.config = *source, .source = *source, .layers = {source->n_layers, NULL}, .channels = {source->width, NULL}};
        cut->arena = arena;
        cut->each = PARE_PUSH(arena, pare_layer_cut, source->n_layers, error);
        for (uint32_t i = 0; cut->each && i < source->n_layers; i++)
            cut->each[i] = whole_layer(source, i);
        if (cut->each)
            return cut;
    }
    pare_arena_close(arena);
    return NULL;
}

void pare_cut_close(pare_cut *cut) {
    if (!cut)
        return;
    pare_free(cut->replaced);
    pare_spill_close(cut->spill);
    pare_arena_close(cut->arena); /* the cut itself lies in it */
}

/* ---- keeping ---- */

static uint32_t kept_at(const pare_kept *kept, uint32_t i) {
    return kept->index ? kept->index[i] : i;
}

static bool keep(pare_kept *kept, pare_cut *cut, const char *what, const uint32_t *index, uint32_t n, uint32_t there, pare_error *error) {
    if (n == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: none would be left of %u", what, there);
    for (uint32_t i = 0; i < n; i++)
        if (index[i] >= there || (i > 0 && index[i] <= index[i - 1]))
            return pare_fail(error, PARE_ERROR_RANGE, "%s: %u at place %u is out of range (%u there are) or out of order", what, index[i],
                             i, there);
    uint32_t *copy = PARE_PUSH(cut->arena, uint32_t, n, error);
    if (!copy)
        return false;
    memcpy(copy, index, n * sizeof *index);
    *kept = (pare_kept){n, n < there ? copy : NULL};
    return true;
}

/* Ranks of what is left: none where every matrix is whole. */
static bool settle_ranks(pare_cut *cut, pare_error *error) {
    const pare_layer_ranks whole = {{0}};
    pare_layer_ranks *ranks = PARE_PUSH(cut->arena, pare_layer_ranks, cut->layers.n, error);
    bool any = false;
    for (uint32_t i = 0; ranks && i < cut->layers.n; i++) {
        ranks[i] = cut->each[kept_at(&cut->layers, i)].ranks;
        any = any || memcmp(&ranks[i], &whole, sizeof whole) != 0;
    }
    cut->config.ranks = any ? ranks : NULL;
    return ranks != NULL;
}

/* The config of what is left: one shape for all layers where they agree. */
bool cut_settle(pare_cut *cut, pare_error *error) {
    pare_config *c = &cut->config;
    c->n_layers = cut->layers.n;
    c->width = cut->channels.n;
    pare_layer_shape *shapes = PARE_PUSH(cut->arena, pare_layer_shape, c->n_layers, error), most = {0};
    if (!shapes)
        return false;
    bool alike = true;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const pare_layer_cut *l = &cut->each[kept_at(&cut->layers, i)];
        shapes[i] = (pare_layer_shape){l->ffn.n, l->heads.n, l->kv_heads.n};
        alike = alike && memcmp(&shapes[i], &shapes[0], sizeof *shapes) == 0;
        most.ffn_width = l->ffn.n > most.ffn_width ? l->ffn.n : most.ffn_width;
        most.n_heads = l->heads.n > most.n_heads ? l->heads.n : most.n_heads;
        most.n_kv_heads = l->kv_heads.n > most.n_kv_heads ? l->kv_heads.n : most.n_kv_heads;
    }
    c->ffn_width = most.ffn_width;
    c->n_heads = most.n_heads;
    c->n_kv_heads = most.n_kv_heads;
    c->shapes = alike ? NULL : shapes;
    return settle_ranks(cut, error);
}

static bool check_layer(const pare_cut *cut, uint32_t layer, pare_error *error) {
    return layer < cut->source.n_layers ||
           pare_fail(error, PARE_ERROR_RANGE, "layer %u of a cut of a model with %u", layer, cut->source.n_layers);
}

bool pare_cut_keep_ffn(pare_cut *cut, uint32_t layer, const uint32_t *index, uint32_t n, pare_error *error) {
    char what[64];
    snprintf(what, sizeof what, "FFN neurons of layer %u", layer);
    return check_layer(cut, layer, error) &&
           keep(&cut->each[layer].ffn, cut, what, index, n, pare_config_layer(&cut->source, layer).ffn_width, error) &&
           cut_settle(cut, error);
}

/* rows = those of the heads, head_dim each */
static bool expand(pare_kept *rows, pare_cut *cut, const pare_kept *heads, pare_error *error) {
    uint32_t d = cut->source.head_dim, *index = NULL;
    if (heads->index && !(index = PARE_PUSH(cut->arena, uint32_t, (size_t)heads->n * d, error)))
        return false;
    for (uint32_t i = 0; index && i < heads->n * d; i++)
        index[i] = heads->index[i / d] * d + i % d;
    *rows = (pare_kept){heads->n * d, index};
    return true;
}

bool pare_cut_keep_heads(pare_cut *cut, uint32_t layer, const uint32_t *index, uint32_t n, pare_error *error) {
    char what[64];
    snprintf(what, sizeof what, "query heads of layer %u", layer);
    if (!check_layer(cut, layer, error))
        return false;
    pare_layer_shape shape = pare_config_layer(&cut->source, layer);
    pare_layer_cut l = cut->each[layer];
    uint32_t group = shape.n_heads / shape.n_kv_heads, n_groups = 0;
    if (!keep(&l.heads, cut, what, index, n, shape.n_heads, error))
        return false;
    uint32_t *groups = PARE_PUSH(cut->arena, uint32_t, n, error);
    if (!groups)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (n_groups == 0 || groups[n_groups - 1] != index[i] / group)
            groups[n_groups++] = index[i] / group;
    for (uint32_t i = 0; i < n; i++)
        if (n % n_groups || index[i] / group != groups[i / (n / n_groups)])
            return pare_fail(error, PARE_ERROR_SHAPE, "layer %u: %u query heads over %u key-value heads, not equally many for each", layer,
                             n, n_groups);
    l.kv_heads = (pare_kept){n_groups, n_groups < shape.n_kv_heads ? groups : NULL};
    if (!expand(&l.q_rows, cut, &l.heads, error) || !expand(&l.kv_rows, cut, &l.kv_heads, error))
        return false;
    cut->each[layer] = l;
    return cut_settle(cut, error);
}

bool pare_cut_keep_groups(pare_cut *cut, uint32_t layer, const uint32_t *index, uint32_t n, pare_error *error) {
    char what[64];
    pare_kept groups;
    snprintf(what, sizeof what, "key-value heads of layer %u", layer);
    if (!check_layer(cut, layer, error))
        return false;
    pare_layer_shape shape = pare_config_layer(&cut->source, layer);
    uint32_t group = shape.n_heads / shape.n_kv_heads;
    if (!keep(&groups, cut, what, index, n, shape.n_kv_heads, error))
        return false;
    uint32_t *heads = PARE_PUSH(cut->arena, uint32_t, (size_t)n * group, error);
    for (uint32_t i = 0; heads && i < n * group; i++)
        heads[i] = index[i / group] * group + i % group;
    return heads && pare_cut_keep_heads(cut, layer, heads, n * group, error);
}

bool pare_cut_keep_channels(pare_cut *cut, const uint32_t *index, uint32_t n, pare_error *error) {
    return keep(&cut->channels, cut, "residual channels", index, n, cut->source.width, error) && cut_settle(cut, error);
}

bool pare_cut_keep_layers(pare_cut *cut, const uint32_t *index, uint32_t n, pare_error *error) {
    return keep(&cut->layers, cut, "layers", index, n, cut->source.n_layers, error) && cut_settle(cut, error);
}

/* ---- replacing ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const pare_tensor *)a)->name, ((const pare_tensor *)b)->name);
}

static int name_of(const void *name, const void *tensor) {
    return strcmp(name, ((const pare_tensor *)tensor)->name);
}

static pare_tensor *find_replaced(const pare_cut *cut, const char *name) {
    return cut->n_replaced ? bsearch(name, cut->replaced, cut->n_replaced, sizeof *cut->replaced, name_of) : NULL;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

typedef struct {
    const char *name;
    pare_tensor *tensor;
} shape_search;

static bool take_shape(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    shape_search *s = user;
    (void)error;
    if (strcmp(name, s->name) == 0) {
        s->tensor->n_dims = n_dims;
        memcpy(s->tensor->dims, dims, n_dims * sizeof *dims);
    }
    return true;
}

/* Only Llama's configuration knows biases of o_proj and of the FFN; it has q's, k's and v's together with o's. */
static void grant_bias(pare_config *config, const char *name) {
    bool output = ends_with(name, "self_attn.o_proj.bias") && !config->output_bias;
    bool ffn = ends_with(name, "mlp.down_proj.bias") && !config->mlp_bias;
    if (!output && !ffn)
        return;
    config->arch = PARE_ARCH_LLAMA;
    config->attention_bias = config->output_bias = config->attention_bias || output;
    config->mlp_bias = config->mlp_bias || ffn;
}

static bool place(pare_cut *cut, const pare_tensor *tensor, pare_error *error) {
    pare_tensor *there = find_replaced(cut, tensor->name);
    if (there) {
        *there = *tensor;
        return true;
    }
    void *grown = cut->replaced;
    if (!pare_grow(&grown, &cut->replaced_capacity, cut->n_replaced + 1, sizeof *tensor, error))
        return false;
    cut->replaced = grown;
    cut->replaced[cut->n_replaced++] = *tensor;
    qsort(cut->replaced, cut->n_replaced, sizeof *tensor, by_name);
    return true;
}

float *pare_cut_replace(pare_cut *cut, const char *name, pare_error *error) {
    pare_tensor tensor = {.name = pare_arena_copy(cut->arena, name, strlen(name), error), .dtype = PARE_DTYPE_F32, .source = "the cut"};
    shape_search search = {name, &tensor};
    grant_bias(&cut->config, name);
    if (!tensor.name || !pare_config_visit_tensors(&cut->config, take_shape, &search, error))
        return NULL;
    if (tensor.n_dims == 0 || !pare_shape_bytes(&tensor.n_bytes, tensor.dtype, tensor.n_dims, tensor.dims)) {
        pare_fail(error, PARE_ERROR_SHAPE, "tensor %s is none of the cut model's", name);
        return NULL;
    }
    float *values = tensor.n_bytes < SPILL_BYTES ? PARE_PUSH(cut->arena, float, tensor.n_bytes / sizeof(float), error)
                                                 : pare_spill_push(&cut->spill, (size_t)tensor.n_bytes, error);
    tensor.data = (const uint8_t *)values;
    return values && place(cut, &tensor, error) ? values : NULL;
}

void pare_cut_let_go(const pare_cut *cut) {
    pare_spill_drop(cut->spill);
}

void pare_cut_drop_rows(const pare_view *view, uint32_t first, uint32_t n, const pare_cut *cut, const pare_checkpoint *checkpoint) {
    const uint8_t *from = pare_tensor_row(view->tensor, view->rows ? view->rows[first] : first);
    const uint8_t *to = pare_tensor_row(view->tensor, view->rows ? view->rows[first + n - 1] : first + n - 1);
    bool mapped = pare_checkpoint_maps(checkpoint, from) || (cut && pare_spill_holds(cut->spill, from));
    if (to > from && mapped) /* weights in memory would be gone */
        pare_bytes_drop(from, (size_t)(to - from));
}

void pare_cut_untie(pare_cut *cut) {
    cut->config.tied = false;
}

void pare_cut_add_shortcuts(pare_cut *cut) {
    cut->config.shortcuts = true;
}

void pare_cut_set_rms_eps(pare_cut *cut, double eps) {
    cut->config.rms_eps = eps;
}

bool pare_cut_factor(pare_cut *cut, uint32_t layer, pare_projection projection, uint32_t rank, float **u, float **v, pare_error *error) {
    char name[96];
    const char *path = pare_projection_path(projection);
    if (layer >= cut->config.n_layers)
        return pare_fail(error, PARE_ERROR_RANGE, "layer %u of a cut that leaves %u", layer, cut->config.n_layers);
    pare_linear_shape s = pare_config_linear(&cut->config, layer, projection);
    if (rank == 0 || rank > s.out || rank > s.in)
        return pare_fail(error, PARE_ERROR_RANGE, "layer %u, %s: a rank of %u is not possible for a matrix of shape [%llu, %llu]", layer,
                         path, rank, (unsigned long long)s.out, (unsigned long long)s.in);
    cut->each[kept_at(&cut->layers, layer)].ranks.of[projection] = rank;
    if (!settle_ranks(cut, error))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.%s.u.weight", layer, path);
    if (!(*u = pare_cut_replace(cut, name, error)))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.%s.v.weight", layer, path);
    return (*v = pare_cut_replace(cut, name, error)) != NULL;
}

/* ---- views ---- */

const pare_config *pare_cut_config(const pare_cut *cut, const pare_checkpoint *checkpoint) {
    return cut ? &cut->config : &checkpoint->config;
}

/* The layer of "model.layers.<layer>.<part>", and the part; false for every other name. */
static bool split(uint32_t *layer, const char **part, const char *name) {
    static const char prefix[] = "model.layers.";
    uint64_t number = 0;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *at = name + sizeof prefix - 1;
    for (; *at >= '0' && *at <= '9' && number < UINT32_MAX; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    *layer = (uint32_t)number;
    *part = at + 1;
    return *at == '.' && number < UINT32_MAX;
}

static void narrow(const uint32_t **index, uint32_t *n, const pare_cut *cut, uint32_t layer, axis which) {
    const pare_layer_cut *l = &cut->each[layer];
    const pare_kept *kept = which == AXIS_CHANNELS ? &cut->channels
                            : which == AXIS_FFN    ? &l->ffn
                            : which == AXIS_Q      ? &l->q_rows
                            : which == AXIS_KV     ? &l->kv_rows
                                                   : NULL;
    if (kept && kept->index) {
        *index = kept->index;
        *n = kept->n;
    }
}

/* A factored matrix has its rows in U and its columns in V. */
typedef enum { SIDE_NONE, SIDE_BOTH, SIDE_U, SIDE_V } side;

static side side_of(const char *part, const char *name) {
    size_t n = strlen(name) - strlen("weight");
    if (strcmp(part, name) == 0)
        return SIDE_BOTH;
    if (!ends_with(name, "weight") || strncmp(part, name, n) != 0)
        return SIDE_NONE;
    return strcmp(part + n, "u.weight") == 0 ? SIDE_U : strcmp(part + n, "v.weight") == 0 ? SIDE_V : SIDE_NONE;
}

/* The stored tensor that `name` of the cut model comes from; its layer in the source, and its name within a layer. */
static const pare_tensor *origin(uint32_t *layer, const char **part, const pare_cut *cut, const pare_checkpoint *checkpoint,
                                 const char *name) {
    char source[128];
    *layer = 0;
    if (!split(layer, part, name)) {
        *part = name;
        return pare_checkpoint_find(checkpoint, name);
    }
    if (*layer >= cut->layers.n)
        return NULL;
    *layer = kept_at(&cut->layers, *layer);
    snprintf(source, sizeof source, "model.layers.%u.%s", *layer, *part);
    return pare_checkpoint_find(checkpoint, source);
}

bool pare_cut_find(pare_view *view, const pare_cut *cut, const pare_checkpoint *checkpoint, const char *name) {
    const pare_tensor *whole = cut ? find_replaced(cut, name) : pare_checkpoint_find(checkpoint, name);
    if (whole) {
        *view = pare_view_all(whole);
        return true;
    }
    uint32_t layer;
    const char *part;
    const pare_tensor *tensor = cut ? origin(&layer, &part, cut, checkpoint, name) : NULL;
    if (!tensor)
        return false;
    *view = pare_view_all(tensor);
    for (size_t i = 0; i < cut_table_length; i++) {
        side of = side_of(part, cut_table[i].name);
        if (of == SIDE_BOTH || of == SIDE_U)
            narrow(&view->rows, &view->n_rows, cut, layer, cut_table[i].rows);
        if (of == SIDE_BOTH || of == SIDE_V)
            narrow(&view->columns, &view->n_columns, cut, layer, cut_table[i].columns);
    }
    return true;
}

/* ---- identity ---- */

static void print_kept(pare_string *text, const char *what, uint32_t layer, const pare_kept *kept) {
    if (!kept->index)
        return;
    pare_string_print(text, "%s %u:", what, layer);
    for (uint32_t i = 0; i < kept->n; i++)
        pare_string_print(text, " %u", kept->index[i]);
    pare_string_print(text, "\n");
}

bool pare_cut_hash(pare_sha256 *hash, const pare_cut *cut, pare_error *error) {
    pare_string text = {0};
    bool done = true;
    print_kept(&text, "layers", 0, &cut->layers);
    print_kept(&text, "channels", 0, &cut->channels);
    if (cut->config.tied != cut->source.tied)
        pare_string_print(&text, "untied\n");
    if (cut->config.shortcuts != cut->source.shortcuts)
        pare_string_print(&text, "shortcuts\n");
    if (cut->config.rms_eps < cut->source.rms_eps || cut->config.rms_eps > cut->source.rms_eps)
        pare_string_print(&text, "eps %.17g\n", cut->config.rms_eps);
    for (uint32_t i = 0; i < cut->source.n_layers; i++) {
        print_kept(&text, "ffn", i, &cut->each[i].ffn);
        print_kept(&text, "heads", i, &cut->each[i].heads);
        for (int p = 0; p < PARE_PROJECTIONS; p++)
            if (cut->each[i].ranks.of[p])
                pare_string_print(&text, "rank %u %s %u\n", i, pare_projection_name((pare_projection)p), cut->each[i].ranks.of[p]);
    }
    for (size_t i = 0; done && i < cut->n_replaced; i++) {
        pare_sha256 values;
        done = pare_sha256_bytes(&values, cut->replaced[i].data, cut->replaced[i].n_bytes, error);
        pare_string_print(&text, "%s %s\n", cut->replaced[i].name, done ? values.hex : "");
    }
    done = done && pare_string_check(&text, error) && pare_sha256_bytes(hash, text.data ? text.data : "", text.length, error);
    pare_string_free(&text);
    return done;
}
