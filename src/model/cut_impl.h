/* cut_impl: what cut.c and pad.c share: which units the rows and columns of a layer's tensors belong to. */
#ifndef MODEL_CUT_IMPL_H
#define MODEL_CUT_IMPL_H

#include "pare/cut.h"

typedef enum { AXIS_WHOLE, AXIS_CHANNELS, AXIS_FFN, AXIS_Q, AXIS_KV } axis;

typedef struct {
    const char *name; /* within a layer: "mlp.up_proj.weight"; or of the model */
    axis rows, columns;
} cut_axes;
extern const cut_axes cut_table[];
extern const size_t cut_table_length;

/* The config of what is left, from each layer's lists. */
bool cut_settle(pare_cut *cut, pare_error *error) PARE_MUST_CHECK;

#endif
