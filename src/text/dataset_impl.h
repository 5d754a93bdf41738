/* dataset_impl: the stages behind pare_dataset, each a file.
 *
 *   documents.c          a file to documents (text_file.h)
 *   dataset_pieces.c     a long text to pieces that can be encoded one by one
 *   dataset_store.c      documents to stored ids, in memory or in a cache file
 *   dataset.c            stored ids to two parts, windows, orders
 */
#ifndef PARE_TEXT_DATASET_IMPL_H
#define PARE_TEXT_DATASET_IMPL_H

#include "pare/dataset.h"
#include "text_file.h"

/* ---- pieces ------------------------------------------------------------------------------------ */

enum { PARE_PIECE_BYTES = 4 << 20 };

/* Length of the first piece of a text: all of it when it has at most `limit` bytes, else up to a place where cutting does not
 * change the ids. forced: there was none, and it is cut anyhow. */
bool pare_piece_measure(size_t *length, bool *forced, const pare_tokenizer *tokenizer, const char *text, size_t n, size_t limit,
                        pare_error *error) PARE_MUST_CHECK;

/* ---- store ------------------------------------------------------------------------------------- */

/* A hash of what comes in blocks: SHA-256 of the last state and the block's own SHA-256. Starts zeroed. */
typedef struct {
    pare_sha256 state;
} pare_chain;
bool pare_chain_add(pare_chain *chain, const void *bytes, size_t n, pare_error *error) PARE_MUST_CHECK;
/* Blocks of PARE_PIECE_BYTES. `mapped`: of a file, whose pages need not stay in memory. */
bool pare_chain_add_all(pare_chain *chain, const uint8_t *bytes, size_t n, bool mapped, const pare_context *context,
                        pare_error *error) PARE_MUST_CHECK;
uint64_t pare_chain_number(const pare_chain *chain);

/* Pages of a file's map that were read and are not needed soon: given back, or a text of many GiB would count as memory used. */
void pare_pages_forget(const void *bytes, size_t n);

enum { PARE_STORED_SEPARATED = 1, PARE_STORED_ANSWERED = 2, PARE_STORED_CONTINUES = 4, PARE_STORED_FLAGS = 7 };
typedef struct {
    uint64_t end;    /* its first id is the end of the one before */
    uint64_t masked; /* so many ids at its start are a prompt */
    uint64_t hash;   /* of its text: equal documents have equal hashes */
    uint64_t flags;  /* SEPARATED: its last id is a separator that was added; CONTINUES: a further part of the document before */
} pare_stored_document;

typedef struct {
    const uint8_t *ids; /* little by little: width bytes each */
    unsigned width;     /* 2 or 4 */
    uint64_t n_tokens, n_documents, forced_cuts;
    const pare_stored_document *documents;
    pare_map map; /* of the cache, or size 0 and the two below */
    void *own_ids, *own_documents;
} pare_stored;

/* What the ids are made from; key: names exactly that. */
typedef struct {
    const pare_source *sources;
    size_t n_sources, piece_bytes;
    const pare_tokenizer *tokenizer;
    int64_t separator;
    const pare_context *context;
    pare_sha256 key;
} pare_recipe;

unsigned pare_stored_width(const pare_tokenizer *tokenizer);
/* Into memory, or into a file when path is not NULL. */
bool pare_stored_make(pare_stored *store, const pare_recipe *recipe, const char *path, pare_error *error) PARE_MUST_CHECK;
/* Maps a cache and checks every number in it. FORMAT when it is not the recipe's, or damaged. */
bool pare_stored_open(pare_stored *store, const pare_recipe *recipe, const char *path, pare_error *error) PARE_MUST_CHECK;
void pare_stored_close(pare_stored *store);
uint32_t pare_stored_id(const pare_stored *store, uint64_t index);

#endif
