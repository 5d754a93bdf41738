/* method: the methods that score.c's table lists. */
#ifndef PARE_METHOD_H
#define PARE_METHOD_H

#include "pare/compress.h"

extern const pare_method pare_method_random, pare_method_random_groups, pare_method_random_heads;
extern const pare_method pare_method_magnitude, pare_method_magnitude_groups, pare_method_magnitude_heads, pare_method_magnitude_channels;
extern const pare_method pare_method_wanda_sp, pare_method_wanda_sp_groups, pare_method_wanda_sp_heads;
extern const pare_method pare_method_activation, pare_method_activation_groups, pare_method_activation_heads,
    pare_method_activation_channels;
extern const pare_method pare_method_flap, pare_method_flap_groups, pare_method_flap_heads;
extern const pare_method pare_method_prunenet, pare_method_lila;
extern const pare_method pare_method_taylor, pare_method_taylor_groups, pare_method_taylor_heads, pare_method_taylor_all;
extern const pare_method pare_method_surgeon, pare_method_surgeon_groups, pare_method_surgeon_all;
extern const pare_method pare_method_slice, pare_method_slice_global;
extern const pare_method pare_method_svd, pare_method_svd_llm;
extern const pare_method pare_method_last_layers, pare_method_shortgpt, pare_method_perplexity_layers;

/* lila.c: adds to scores (n) how far the spectrum of w (n, width) shifts when a row is ablated. */
bool lila_add_shifts(double *scores, const float *w, size_t n, size_t width, pare_error *error) PARE_MUST_CHECK;

#endif
