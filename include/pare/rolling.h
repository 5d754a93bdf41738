/* rolling: the likelihood of whole pages by lm-evaluation-harness's `wikitext` task (loglikelihood_rolling): perplexity per word and byte.
 */
#ifndef PARE_ROLLING_H
#define PARE_ROLLING_H

#include "pare/task.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint64_t pages, windows, tokens;
    uint64_t words, bytes; /* of the pages as they stand in the file */
    double log_likelihood; /* nats, of all tokens */
    double word_perplexity, byte_perplexity, bits_per_byte;
    double seconds;
    pare_sha256 data_sha256;
} pare_rolling_result;

/* The first `limit` pages (0: all) of a text; a page begins at a line "= Title =" (WikiText's), a text without one is one page. The marks
 * of WikiText (" @-@ ", spaces around punctuation) are undone before a page is tokenised. Every token is predicted once: windows are as
 * long as the model's positions, the first of a page begins with the BOS token (EOS where there is none), later ones with one token of
 * context. NUMERIC when a score is not finite. */
bool pare_rolling_run(pare_rolling_result *result, const pare_model *model, const pare_request_rule *rule, const char *path, size_t limit,
                      const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* WikiText's marks undone, in place; a failed allocation is sticky in the string. */
void pare_rolling_detokenise(pare_string *text);

#ifdef __cplusplus
}
#endif
#endif
