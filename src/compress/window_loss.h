/* window_loss: the loss of a model under a cut on a part of the calibration text, for methods that ask what a cut costs by trying it. */
#ifndef PARE_COMPRESS_WINDOW_LOSS_H
#define PARE_COMPRESS_WINDOW_LOSS_H

#include "pare/compress.h"

/* Mean cross-entropy over the first windows, 4,096 tokens at most, and one window at least. RANGE for windows of one token, NUMERIC where
 * the loss is not finite. */
bool window_loss(double *loss, const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_windows *windows,
                 const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* What it allocates, and the mapped head, which every batch uses. Of the layers one at a time stays mapped. */
size_t window_loss_bytes(const pare_model *model, const pare_windows *windows, const pare_context *context);

#endif
