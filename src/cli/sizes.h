/* sizes: what a compression saves, held against quantising: the source, the output, and both as GGUF files of quantised types. */
#ifndef CLI_SIZES_H
#define CLI_SIZES_H

#include "cli.h"
#include "pare/compress.h"

enum { SIZES_QUANTISED = 2 }; /* q8_0 and q4_0 */
extern const pare_dtype sizes_types[SIZES_QUANTISED];

/* Bytes of the weights, without tokenizer and headers. */
typedef struct {
    const pare_checkpoint *checkpoint;
    pare_dtype type; /* of the output */
    uint64_t source, uncut[SIZES_QUANTISED];
    uint64_t output, cut[SIZES_QUANTISED]; /* cut: zeros where llama.cpp cannot load what is left */
} sizes;

/* Of a cut, or of a plan where cut is NULL; whole: factors are multiplied back. */
bool sizes_take(sizes *s, const pare_checkpoint *checkpoint, const pare_plan *plan, const pare_cut *cut, pare_dtype type, bool whole,
                pare_error *error) PARE_MUST_CHECK;
json_t *sizes_json(pare_json_doc *doc, const sizes *s);
/* Two lines, and what would be smaller; out: the path that is written, or NULL for a plan. */
void sizes_print(const sizes *s, const char *out);

#endif
