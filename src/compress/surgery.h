/* surgery: optimal brain surgery on whole units with a closed-form refit of the projection that reads them: down_proj of FFN neurons,
 * o_proj of key-value heads with their query heads. Hassibi & Stork 1993; Kurtic et al. 2023 (ZipLM); Frantar & Alistarh 2022 (OBC). */
#ifndef PARE_COMPRESS_SURGERY_H
#define PARE_COMPRESS_SURGERY_H

#include "pare/compress.h"

typedef enum { SURGERY_ATTENTION, SURGERY_FFN, SURGERY_SITES } surgery_site; /* in the order of a layer */

/* Units that stay in each layer, (n_layers); NULL: that site is left alone. */
typedef struct {
    const uint32_t *kept[SURGERY_SITES];
} surgery_counts;

/* Layer by layer on the activations of the already cut model. NULL on failure. */
pare_cut *surgery_cut(const pare_checkpoint *checkpoint, const pare_windows *windows, const surgery_counts *counts,
                      const pare_context *context, pare_error *error) PARE_MUST_CHECK;
/* costs[site] (n_layers, units + 1): the mean squared error, relative to the residual stream, that keeping so many units alone would
 * cause, by the dense model's statistics; infinite below least[site] units. */
bool surgery_costs(double *costs[SURGERY_SITES], const uint32_t least[SURGERY_SITES], const pare_checkpoint *checkpoint,
                   const pare_windows *windows, const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* What either allocates at most. */
size_t surgery_bytes(const pare_model *model, const pare_windows *windows, const pare_context *context);

#endif
