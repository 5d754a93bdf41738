/* dataset: texts on disk as packed windows of token ids, for training.
 *
 *   files -> documents -> ids, kept in memory or in a mapped cache -> windows of one length -> their order in each epoch
 *
 * Documents. Files are read as pare/corpus.h says, which names the shapes of rows; each row is a document. A plain text is one document.
 * Only when something is held out is it cut, at the first blank line after each 2,000 bytes (or the first line end after 16,000), because
 * a split needs documents; the blank lines between do not count then.
 * A prompt is encoded apart from its response, as it will be when the model is asked, and is masked: it is read, not learned. Of messages
 * only what the assistant says is learned, with the marker that ends it; the rest is masked. Rows without a character are skipped.
 * The spelling of a special token in a text is that token, as transformers has it.
 *
 * Packing. Each document is what the tokenizer's template makes of it (BOS in front where the template says so). Between two
 * documents, and behind every response, stands the separator. The training documents in the order of the files are one row of
 * ids, and window i is its ids [i length, (i + 1) length); what fills no window is left away, nothing is padded. One plain text
 * with nothing held out therefore gives the consecutive slices of its ids.
 *
 * Size. Texts are read and encoded in pieces of some MiB, so neither they nor their ids need to fit into memory when there is a
 * cache; without one the ids (2 or 4 bytes each) must. Beside them a document costs about 100 bytes of memory.
 */
#ifndef PARE_DATASET_H
#define PARE_DATASET_H

#include "pare/text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PARE_DATASET_LINE_BYTES ((size_t)64 << 20) /* of a row */

typedef enum {
    PARE_ORDER_SHUFFLED, /* each epoch in an order of its own, a function of (seed, epoch) alone */
    PARE_ORDER_GIVEN,    /* as in the text, the same in every epoch */
} pare_data_order;

typedef struct {
    const char *const *paths;
    size_t n_paths;
    size_t length;     /* ids of a window, at least 2 */
    double held_out;   /* share of the documents kept away from training, in [0, 1); of equal documents all or none. At least one */
    uint64_t seed;     /* of the order and of what is held out */
    int64_t separator; /* the id between documents, the model's EOS; -1: none (0 is an id!) */
    pare_data_order order;
    const char *cache; /* folder of the token cache, made when absent; NULL: none */
} pare_dataset_options;

typedef struct {
    uint64_t documents, tokens; /* with BOS and separators, and with the rest that fills no window */
    uint64_t windows;
    uint64_t targets; /* learn flags of all windows together */
} pare_dataset_part;

typedef struct {
    pare_dataset_part training, held_out;
    uint64_t bytes;     /* of the files */
    size_t length;      /* as asked for */
    pare_sha256 sha256; /* of the texts' contents, the tokenizer and every option but the cache: equal = the same windows */
    bool from_cache;    /* the ids were there already */
    /* Places where a text was cut between two pieces although its ids may differ there from those of the whole: only where some
     * MiB had no place to cut. 0 = ids exactly as if every document had been encoded at once. */
    uint64_t forced_cuts;
    char remark[512]; /* something to tell the user, or "": a cache that could not be used */
} pare_dataset_facts;

typedef struct pare_dataset pare_dataset; /* immutable after open: any number of threads may read it */

/* context: progress ("reading", "tokenising", in bytes) and cancellation; may be NULL. */
pare_dataset *pare_dataset_open(const pare_dataset_options *options, const pare_tokenizer *tokenizer, const pare_context *context,
                                pare_error *error) PARE_MUST_CHECK;
void pare_dataset_close(pare_dataset *dataset); /* NULL is fine */
const pare_dataset_facts *pare_dataset_facts_of(const pare_dataset *dataset);

/* Window `index` (below training.windows) of `epoch`: options.length ids, and for each whether it is to be learned. ids[t] is
 * the target of position t - 1, so learn[0] is always 0 and a window without prompts has length - 1 targets. A window inside a
 * long prompt may have none at all: its loss is an empty sum. */
bool pare_dataset_window(uint32_t *ids, uint8_t *learn, const pare_dataset *dataset, uint64_t epoch, uint64_t index,
                         pare_error *error) PARE_MUST_CHECK;
/* The same for the held-out part, below held_out.windows, in the order of the files. */
bool pare_dataset_held_out_window(uint32_t *ids, uint8_t *learn, const pare_dataset *dataset, uint64_t index,
                                  pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
