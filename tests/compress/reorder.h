/* reorder: FFN neurons and key-value heads of a thawed checkpoint change places, which changes nothing that it computes. */
#ifndef TESTS_COMPRESS_REORDER_H
#define TESTS_COMPRESS_REORDER_H

#include <stdio.h>

#include "pare/trainable.h"

/* Rows (or columns) a and b of a tensor of one layer, `per` at a time; nothing where there is none of that name. */
static inline void swap_lines(const pare_checkpoint *checkpoint, uint32_t layer, const char *part, bool rows, uint32_t a, uint32_t b,
                              uint32_t per) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.%s", layer, part);
    const pare_tensor *t = pare_checkpoint_find(checkpoint, name);
    if (!t)
        return;
    float *w = (float *)(uintptr_t)t->data;
    size_t n_rows = pare_tensor_rows(t), n_columns = pare_tensor_columns(t);
    for (size_t k = 0; k < per; k++)
        for (size_t j = 0; j < (rows ? n_columns : n_rows); j++) {
            float *x = rows ? w + (a * per + k) * n_columns + j : w + j * n_columns + a * per + k;
            float *y = rows ? w + (b * per + k) * n_columns + j : w + j * n_columns + b * per + k;
            float kept = *x;
            *x = *y;
            *y = kept;
        }
}

static inline void swap_neurons(const pare_checkpoint *checkpoint, uint32_t layer, uint32_t a, uint32_t b) {
    swap_lines(checkpoint, layer, "mlp.gate_proj.weight", true, a, b, 1);
    swap_lines(checkpoint, layer, "mlp.up_proj.weight", true, a, b, 1);
    swap_lines(checkpoint, layer, "mlp.down_proj.weight", false, a, b, 1);
}

/* Key-value heads with their query heads. */
static inline void swap_groups(const pare_checkpoint *checkpoint, uint32_t layer, uint32_t a, uint32_t b) {
    const pare_config *c = &checkpoint->config;
    uint32_t d = c->head_dim, group = c->n_heads / c->n_kv_heads;
    swap_lines(checkpoint, layer, "self_attn.q_proj.weight", true, a, b, group * d);
    swap_lines(checkpoint, layer, "self_attn.q_proj.bias", true, a, b, group * d);
    swap_lines(checkpoint, layer, "self_attn.k_proj.weight", true, a, b, d);
    swap_lines(checkpoint, layer, "self_attn.k_proj.bias", true, a, b, d);
    swap_lines(checkpoint, layer, "self_attn.v_proj.weight", true, a, b, d);
    swap_lines(checkpoint, layer, "self_attn.v_proj.bias", true, a, b, d);
    swap_lines(checkpoint, layer, "self_attn.o_proj.weight", false, a, b, group * d);
}

#endif
