/* pad: layers of different shapes made alike again with zeros, which change nothing that the model computes: a neuron without weights gives
 * silu(0) * 0, a head whose values are zero gives zero. Stock programs load the result; memory and speed are those of the widest layer. */
#include <stdio.h>
#include <string.h>

#include "cut_impl.h"

typedef struct {
    pare_layer_shape now, wide;
    uint32_t head_dim;
} widening;

/* Where row or column i of the narrow tensor lies in the wide one: heads stay with their key-value head. */
static size_t moved(const widening *w, axis which, size_t i) {
    if (which != AXIS_Q)
        return i;
    size_t d = w->head_dim, head = i / d, each = w->now.n_heads / w->now.n_kv_heads, each_wide = w->wide.n_heads / w->wide.n_kv_heads;
    return (head / each * each_wide + head % each) * d + i % d;
}

static void scatter(float *to, size_t to_row, const float *from, const pare_view *view, const widening *w, const cut_axes *axes) {
    for (size_t r = 0; r < view->n_rows; r++)
        for (size_t c = 0; c < view->n_columns; c++)
            to[moved(w, axes->rows, r) * to_row + moved(w, axes->columns, c)] = from[r * view->n_columns + c];
}

static size_t wide_columns(const widening *w, axis columns, size_t n) {
    return columns == AXIS_FFN ? w->wide.ffn_width : columns == AXIS_Q ? (size_t)w->wide.n_heads * w->head_dim : n;
}

static bool by_layer(axis which) {
    return which == AXIS_FFN || which == AXIS_Q || which == AXIS_KV;
}

enum { PARTS_MAX = 32 };

static bool pad_layer(pare_cut *cut, const pare_checkpoint *checkpoint, uint32_t layer, const widening *w, pare_arena *arena,
                      pare_error *error) {
    float *values[PARTS_MAX] = {NULL};
    pare_view views[PARTS_MAX];
    char name[96];
    for (size_t i = 0; i < cut_table_length; i++) { /* all of them before anything changes */
        snprintf(name, sizeof name, "model.layers.%u.%s", layer, cut_table[i].name);
        if (!(by_layer(cut_table[i].rows) || by_layer(cut_table[i].columns)) || !pare_cut_find(&views[i], cut, checkpoint, name))
            continue;
        float *scratch = PARE_PUSH(arena, float, pare_view_scratch(&views[i]), error);
        if (!scratch || !(values[i] = PARE_PUSH(arena, float, (size_t)views[i].n_rows *views[i].n_columns, error)))
            return false;
        pare_view_read(values[i], &views[i], 0, views[i].n_rows, scratch);
    }
    uint32_t source = cut->layers.index ? cut->layers.index[layer] : layer, d = w->head_dim;
    cut->each[source] = (pare_layer_cut){.ffn = {w->wide.ffn_width, NULL},
                                         .heads = {w->wide.n_heads, NULL},
                                         .kv_heads = {w->wide.n_kv_heads, NULL},
                                         .q_rows = {w->wide.n_heads * d, NULL},
                                         .kv_rows = {w->wide.n_kv_heads * d, NULL}};
    if (!cut_settle(cut, error))
        return false;
    for (size_t i = 0; i < cut_table_length; i++) {
        if (!values[i])
            continue;
        snprintf(name, sizeof name, "model.layers.%u.%s", layer, cut_table[i].name);
        float *to = pare_cut_replace(cut, name, error);
        if (!to)
            return false;
        scatter(to, wide_columns(w, cut_table[i].columns, views[i].n_columns), values[i], &views[i], w, &cut_table[i]);
    }
    pare_cut_let_go(cut);
    return true;
}

/* Every key-value head of the widest has as many query heads as any of any layer. */
static pare_layer_shape widest(const pare_config *c) {
    pare_layer_shape wide = {0};
    uint32_t each = 0;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        pare_layer_shape s = pare_config_layer(c, i);
        wide.ffn_width = s.ffn_width > wide.ffn_width ? s.ffn_width : wide.ffn_width;
        wide.n_kv_heads = s.n_kv_heads > wide.n_kv_heads ? s.n_kv_heads : wide.n_kv_heads;
        each = s.n_heads / s.n_kv_heads > each ? s.n_heads / s.n_kv_heads : each;
    }
    wide.n_heads = wide.n_kv_heads * each;
    return wide;
}

bool pare_cut_pad(pare_cut *cut, const pare_checkpoint *checkpoint, pare_error *error) {
    if (!cut->config.shapes)
        return true;
    if (cut->config.ranks)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "layers of different shapes whose matrices are factored cannot be padded");
    pare_layer_shape wide = widest(&cut->config);
    bool done = true;
    for (uint32_t i = 0; done && i < cut->config.n_layers; i++) {
        widening w = {pare_config_layer(&cut->config, i), wide, cut->config.head_dim};
        if (memcmp(&w.now, &w.wide, sizeof w.now) == 0)
            continue;
        pare_arena *arena = pare_arena_open(error);
        done = arena && pad_layer(cut, checkpoint, i, &w, arena, error);
        pare_arena_close(arena);
    }
    return done;
}
