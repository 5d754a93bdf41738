/* stream: many windows through a model one layer at a time, the residual stream of all tokens kept between layers. For calibration: at any
 * moment the weights of one layer are in use, so a model of any size needs little memory; and a layer can be looked at, changed, and only
 * then passed. */
#ifndef PARE_STREAM_H
#define PARE_STREAM_H

#include "pare/corpus.h"
#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_stream pare_stream;

/* The windows' tokens embedded; they must outlive it. model: the widest that will be used (the dense one). */
pare_stream *pare_stream_open(const pare_model *model, const pare_windows *windows, const pare_context *context,
                              pare_error *error) PARE_MUST_CHECK;
void pare_stream_close(pare_stream *stream); /* NULL is fine */
/* What pare_stream_open will allocate. */
size_t pare_stream_bytes(const pare_model *model, const pare_windows *windows, const pare_context *context);

/* All windows through layer `index` of a model of the stream's width and head size, some windows at a time; tap may be NULL and sees their
 * rows in order. advance: what leaves the layer takes the place of what entered it; otherwise nothing changes. */
bool pare_stream_layer(pare_stream *stream, const pare_model *model, uint32_t index, const pare_tap *tap, bool advance,
                       pare_error *error) PARE_MUST_CHECK;

/* The residual stream, (windows * length, width). */
const float *pare_stream_rows(const pare_stream *stream);
size_t pare_stream_tokens(const pare_stream *stream);
/* The most rows that a tap sees at once; and of a stream before it is opened. */
size_t pare_stream_batch(const pare_stream *stream);
size_t pare_stream_batch_of(const pare_model *model, const pare_windows *windows);

#ifdef __cplusplus
}
#endif
#endif
