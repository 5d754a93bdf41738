/* eval: test cross-entropy by the field's named protocols, to the letter.
 *
 *   ggufN   (llama.cpp's perplexity; N = 512 there): the whole text tokenised once, as it stands in the file and as that program does:
 *           the spelling of a special token is plain text, and nothing is normalised; windows of N; where the
 *           tokenizer puts a BOS, it replaces each window's first token; only the second half is scored: positions N/2 … N-2
 *           predict tokens N/2+1 … N-1, that is 255 of 512. The text must hold two windows.
 *   joinedN (GPTQ, SparseGPT, Wanda, SliceGPT; N = 2048): the rows of the text (pare_corpus_join), blank ones empty, joined by two
 *           newlines; tokenised once as transformers does: with special tokens, also where they are spelled out in the text; windows of N
 *           without BOS of their own; N - 1 targets each.
 *           Rows are a file's lines, as Python reads them (\r\n and \r end a line and become \n), or the rows of a JSON file.
 * The tail that fills no window is dropped. Perplexity is exp of the mean negative log-probability over all scored tokens.
 */
#ifndef PARE_EVAL_H
#define PARE_EVAL_H

#include "pare/corpus.h"
#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    enum { PARE_PROTOCOL_GGUF, PARE_PROTOCOL_JOINED } kind;
    uint32_t length;
    char name[24];
} pare_protocol;
/* "gguf512", "joined2048", and both with any other window length from 2 (joined) or 4 (gguf). */
bool pare_protocol_parse(pare_protocol *protocol, const char *name, pare_error *error) PARE_MUST_CHECK;

/* A text prepared for a protocol and a tokenizer: tokenised once, scored for many models. */
typedef struct {
    pare_protocol protocol;
    pare_windows windows;
    pare_sha256 data_sha256;  /* of the file's bytes */
    int64_t bos;              /* the id that replaced first tokens, or began the text; -1: none */
    const char *bos_rule;     /* "none", "start of text", "first token of every window" */
    const char *special_rule; /* what a special token spelled out in the text is: "text", "token" */
    uint32_t first_scored;    /* position whose logits give the first target */
} pare_eval_text;
bool pare_eval_text_open(pare_eval_text *text, const pare_protocol *protocol, const char *path, const pare_tokenizer *tokenizer,
                         const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_eval_text_close(pare_eval_text *text);

typedef struct {
    uint64_t tokens_scored;
    size_t windows;
    double cross_entropy;       /* nats per token */
    double cross_entropy_error; /* standard error over tokens, as llama.cpp takes it */
    double window_error;        /* standard error over window means (tokens of one window are not independent); NaN for one window */
    double perplexity, perplexity_error; /* error: llama.cpp's, perplexity * cross_entropy_error */
    double seconds, tokens_per_s;        /* tokens_per_s counts all tokens of the windows */
} pare_eval_result;

/* Scores the first `limit` windows (0: all). A non-finite loss stops it with PARE_ERROR_NUMERIC naming the window. */
bool pare_eval_run(pare_eval_result *result, const pare_model *model, const pare_eval_text *text, size_t limit, const pare_tap *tap,
                   const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* A model beside the dense one, on the same scored tokens. */
enum { PARE_DIVERGENCE_SHARES = 10 };
extern const double pare_divergence_shares[PARE_DIVERGENCE_SHARES]; /* 0, 0.01, 0.05, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1 */
typedef struct {
    uint64_t tokens;
    double divergence, divergence_error;          /* KL(dense || model), nats per token: mean and its standard error over tokens */
    double divergence_at[PARE_DIVERGENCE_SHARES]; /* percentiles over tokens */
    double agreement, agreement_error;            /* share of tokens for which both have the same likeliest next token */
    double dense_cross_entropy;
    double difference;              /* the model's cross-entropy minus the dense one's, nats per token */
    double difference_error;        /* standard error of the paired differences over tokens */
    double difference_window_error; /* over means of windows; NaN for one window */
} pare_eval_comparison;

/* Compares on the first `limit` windows (0: all) of a text that was prepared for the tokenizer of both. SHAPE when the vocabularies differ
 * in size, NUMERIC when a loss is not finite. */
bool pare_eval_against(pare_eval_comparison *result, const pare_model *model, const pare_model *dense, const pare_eval_text *text,
                       size_t limit, const pare_context *context, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
