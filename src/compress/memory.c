/* memory: what a compression will take, told before the work. */
#include <math.h>

#include "pare/compress.h"
#include "pare/stream.h"

/* The program with its libraries and buffers of the writer. */
enum { PROGRAM_BYTES = 40 << 20, PAGE_BYTES = 4096, PASSING_BYTES = 128 << 20 };

/* Moments of what every layer reads, and the pass that collects them. */
static size_t pass_bytes(const pare_model *model, const pare_windows *windows, const pare_context *context) {
    const pare_config *c = &model->config;
    size_t columns = 2 * (size_t)c->width + c->n_heads * c->head_dim + c->ffn_width;
    size_t rows = pare_stream_batch_of(model, windows);
    return pare_stream_bytes(model, windows, context) + 2 * columns * c->n_layers * sizeof(double) + rows * c->width * sizeof(float);
}

/* Of the file: a layer in use and the one before, and the pages of the embedding that the tokens lie in; without a text what tensors leave
 * behind on their way. */
static size_t mapped_bytes(const pare_checkpoint *checkpoint, const pare_windows *windows) {
    pare_size size = pare_checkpoint_size(checkpoint, NULL);
    double each = (double)size.bytes / (double)size.parameters, embedding = (double)(size.parameters - size.non_embedding) * each;
    double layers = (double)size.non_embedding * each / checkpoint->config.n_layers;
    if (!windows)
        return (size_t)fmin(2 * layers, PASSING_BYTES);
    return (size_t)(2 * layers + fmin(embedding, (double)(windows->n * windows->length) * PAGE_BYTES));
}

bool pare_compress_memory(size_t *bytes, const pare_method *method, const pare_checkpoint *checkpoint, const pare_windows *windows,
                          const pare_context *context, pare_error *error) {
    *bytes = PROGRAM_BYTES + mapped_bytes(checkpoint, windows);
    if (!windows && method->calibrated)
        return pare_fail(error, PARE_ERROR_USAGE, "method %s needs a calibration text", method->name);
    pare_model *model = pare_model_open(checkpoint, NULL, error);
    if (!model)
        return false;
    size_t own = method->memory ? method->memory(method, model, windows, context) : 0;
    size_t pass = !windows || method->text_only ? 0 : pass_bytes(model, windows, context);
    *bytes += own > pass ? own : pass;
    pare_model_close(model);
    return true;
}
