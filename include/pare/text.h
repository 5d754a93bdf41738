/* text: byte-level BPE tokenizers, the same ids as the Hugging Face `tokenizers` package.
 *
 * A tokenizer comes from a tokenizer.json, or from parts that another format carries (GGUF). What is supported: model BPE
 * (with or without ignore_merges), normaliser none/NFC/sequence of them, pre-tokenisers ByteLevel, Split, Digits and sequences
 * of them, any decoder, added tokens with their flags (special, single_word, lstrip, rstrip, normalized), post-processors
 * ByteLevel, TemplateProcessing and sequences. Anything else is refused by name.
 */
#ifndef PARE_TEXT_H
#define PARE_TEXT_H

#include "pare/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_tokenizer pare_tokenizer; /* immutable after open: any number of threads may read it */

/* bytes: a whole tokenizer.json. what: its path, for messages. */
pare_tokenizer *pare_tokenizer_open_json(const char *bytes, size_t n, const char *what, pare_error *error) PARE_MUST_CHECK;

typedef enum {
    PARE_TOKEN_NORMAL = 1,
    PARE_TOKEN_UNKNOWN = 2,
    PARE_TOKEN_CONTROL = 3,
    PARE_TOKEN_USER_DEFINED = 4,
    PARE_TOKEN_UNUSED = 5,
    PARE_TOKEN_BYTE = 6,
} pare_token_type; /* GGUF's numbers */

typedef struct {
    const char *bytes;
    size_t length;
} pare_piece;

/* A tokenizer as GGUF metadata tells it. Arrays belong to the caller and are only read during the call. */
typedef struct {
    const char *pre; /* tokenizer.ggml.pre: "gpt-2", "smollm", "llama-bpe", "qwen2", …; NULL, it has none: llama.cpp's "default" */
    const pare_piece *tokens; /* byte-level spelling, index = id */
    const int32_t *types;     /* pare_token_type per token, or NULL */
    size_t n_tokens;
    const pare_piece *merges; /* "left right", in rank order */
    size_t n_merges;
    int64_t bos, eos, unknown, padding; /* -1: none */
    bool add_bos, add_eos;
} pare_tokenizer_parts;
pare_tokenizer *pare_tokenizer_open_parts(const pare_tokenizer_parts *parts, const char *what, pare_error *error) PARE_MUST_CHECK;

/* The same back, from any tokenizer; arrays lie in the arena, texts in it or in the tokenizer. A token without bytes is a hole in the ids.
 * bos, eos: the ones that are added, or -1; unknown, padding: -1. UNSUPPORTED when no `pre` above stands for its pre-tokeniser, or when it
 * adds more than one token at an end. */
bool pare_tokenizer_write_parts(pare_tokenizer_parts *parts, const pare_tokenizer *tokenizer, pare_arena *arena,
                                pare_error *error) PARE_MUST_CHECK;

void pare_tokenizer_close(pare_tokenizer *tokenizer); /* NULL is fine */
/* What its tokenizer.json holds that is no strict JSON, in words ("1 repeated key (the last value counts)"), or NULL. */
const char *pare_tokenizer_remark(const pare_tokenizer *tokenizer);

/* The model's chat template, for texts that hold messages; to be told before the tokenizer is shared. Texts are copied. It is recognised
 * now; one that is unknown is an error where messages are rendered. bos, eos: the texts of these tokens, or NULL. */
typedef struct {
    const char *text; /* NULL: there is one, but it could not be read */
    size_t length;
    const char *bos, *eos;
    const char *missing; /* why it could not be read */
} pare_chat_template;
bool pare_tokenizer_set_chat(pare_tokenizer *tokenizer, const pare_chat_template *given, pare_error *error) PARE_MUST_CHECK;

/* A user's one message by the chat template, up to where the assistant's answer begins: for encoding with PARE_ENCODE_TEMPLATE. *end: the
 * text that ends the answer. The caller frees `out`; `end` belongs to the tokenizer. UNSUPPORTED when there is no template, or one that
 * pare does not know. */
bool pare_chat_prompt(pare_string *out, const char **end, const pare_tokenizer *tokenizer, const char *message, size_t n, const char *what,
                      pare_error *error) PARE_MUST_CHECK;

/* Ids; grows as needed; free with pare_tokens_free. */
typedef struct {
    uint32_t *ids;
    size_t n, capacity;
} pare_tokens;
void pare_tokens_free(pare_tokens *tokens);

enum {
    PARE_ENCODE_TEMPLATE = 1, /* with the post-processor's template: BOS and so on */
    /* As llama.cpp's tools encode a file (parse_special = false): the spelling of a special token is text like any other, added tokens that
     * are not special (user-defined ones) are found, and the text is not normalised. */
    PARE_ENCODE_LLAMA_CPP = 2,
};

/* Appends the ids of `n` bytes of text. Invalid UTF-8 is replaced by U+FFFD as Python's errors="replace" does (one per
 * maximal ill-formed subpart), which is what a text has gone through before it reaches the `tokenizers` package.
 * flags: of PARE_ENCODE_…, 0 for none. Without LLAMA_CPP every added token is found in the text, as that package does. */
bool pare_tokenizer_encode(pare_tokens *tokens, const pare_tokenizer *tokenizer, const char *text, size_t n, unsigned flags,
                           pare_error *error) PARE_MUST_CHECK;

/* The bytes that a token stands for (byte-level decoded; added tokens as written). Belongs to the tokenizer. Out of range: length 0. */
pare_piece pare_tokenizer_piece(const pare_tokenizer *tokenizer, uint32_t id);
size_t pare_tokenizer_size(const pare_tokenizer *tokenizer); /* largest id + 1 */
/* Something that its user should know, a whole sentence, or NULL: ids that may be wrong. Whoever encodes a text with it hands it on. */
const char *pare_tokenizer_note(const pare_tokenizer *tokenizer); /* NULL has none */
/* BOS that encode(PARE_ENCODE_TEMPLATE) puts first; -1 when it puts none. */
int64_t pare_tokenizer_bos(const pare_tokenizer *tokenizer);

/* A tokenizer.json that the `tokenizers` package loads and that gives the same ids: for checkpoints rebuilt from GGUF. */
bool pare_tokenizer_print_json(pare_string *out, const pare_tokenizer *tokenizer, pare_error *error) PARE_MUST_CHECK;

/* ---- training -------------------------------------------------------------------------------- */

/* Byte-level BPE learnt from texts: the merges, in the same order, that the `tokenizers` package's BpeTrainer finds with the
 * whole byte alphabet and the same pieces (its train_from_iterator). Special tokens get the first ids, then come the 256 bytes
 * in the order of their byte-level characters, then the merges. */
typedef struct {
    const char *pre;           /* pre-tokeniser, by the names of pare_tokenizer_parts */
    const pare_piece *special; /* may be none; only read during open */
    size_t n_special;
    size_t vocabulary; /* ids wanted, all together; a text that cannot fill them gives fewer */
    uint64_t min_frequency;
} pare_bpe_options;

typedef struct {
    size_t vocabulary, merges;
    uint64_t bytes; /* of all texts */
    uint64_t words; /* pre-tokenised pieces of them */
    uint64_t different_words;
    uint64_t tokens; /* what the tokenizer makes of these words (special tokens in the text taken as text) */
} pare_bpe_summary;

typedef struct pare_bpe_trainer pare_bpe_trainer;
pare_bpe_trainer *pare_bpe_trainer_open(const pare_bpe_options *options, pare_error *error) PARE_MUST_CHECK;
/* Counts the words of one text; no word reaches from one text into the next. Needs memory for the different words alone. */
bool pare_bpe_trainer_feed(pare_bpe_trainer *trainer, const char *text, size_t n, const pare_context *context,
                           pare_error *error) PARE_MUST_CHECK;
/* The documents of a file, as training reads them (pare/corpus.h): a plain text whole; JSON rows one by one, prompt and response
 * apart. A file without a character is refused. */
typedef struct {
    uint64_t bytes, documents; /* bytes of the file */
    pare_sha256 sha256;
} pare_bpe_file;
bool pare_bpe_trainer_feed_file(pare_bpe_file *file, pare_bpe_trainer *trainer, const char *path, const pare_context *context,
                                pare_error *error) PARE_MUST_CHECK;
/* Learns from all that was fed so far. summary: NULL is fine. */
pare_tokenizer *pare_bpe_trainer_finish(pare_bpe_summary *summary, pare_bpe_trainer *trainer, const pare_context *context,
                                        pare_error *error) PARE_MUST_CHECK;
void pare_bpe_trainer_close(pare_bpe_trainer *trainer); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
