/* dataset_store: documents as stored ids. In memory they are two arrays; a cache file is
 *
 *   header   magic, byte order, width of an id, key of the recipe
 *   ids      of all documents, one behind the other; zeros up to a multiple of 8 bytes
 *   records  pare_stored_document of each
 *   trailer  counts, hash of all between header and trailer and of the counts, magic
 *
 * in the machine's byte order: a cache is made again sooner than it is carried elsewhere. It is written front to back, so that
 * nothing but the records waits in memory. A file is believed only when the key, every count and the hash agree and each id is
 * in the vocabulary. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataset_impl.h"

typedef struct {
    char magic[8];
    uint32_t order, width;
    char key[64];
} header;

typedef struct {
    uint64_t n_tokens, n_documents, forced_cuts;
    char hash[64], magic[8];
} trailer;

static const char magic[8] = {'p', 'a', 'r', 'e', 'i', 'd', 's', '1'};
enum { ORDER = 0x01020304, ALIGN = 8 };

/* ---- hashes ---- */

bool pare_chain_add(pare_chain *chain, const void *bytes, size_t n, pare_error *error) {
    pare_sha256 pair[2] = {chain->state};
    return pare_sha256_bytes(&pair[1], bytes, n, error) && pare_sha256_bytes(&chain->state, pair, sizeof pair, error);
}

bool pare_chain_add_all(pare_chain *chain, const uint8_t *bytes, size_t n, bool mapped, const pare_context *context, pare_error *error) {
    for (size_t at = 0, length; at < n; at += length) {
        length = n - at < PARE_PIECE_BYTES ? n - at : PARE_PIECE_BYTES;
        if (!pare_context_check(context, error) || !pare_chain_add(chain, bytes + at, length, error))
            return false;
        if (mapped)
            pare_pages_forget(bytes + at, length);
    }
    return true;
}

uint64_t pare_chain_number(const pare_chain *chain) {
    uint64_t number = 0;
    for (int i = 0; i < 16; i++) {
        char c = chain->state.hex[i];
        number = number << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return number;
}

void pare_pages_forget(const void *bytes, size_t n) {
    long page = sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)bytes, mask = page > 0 ? (uintptr_t)page - 1 : 0;
    uintptr_t start = (from + mask) & ~mask, end = (from + n) & ~mask; /* whole pages only: the last may still be read on */
    if (mask && end > start)
        madvise((void *)start, end - start, MADV_DONTNEED);
}

/* ---- making ---- */

typedef struct {
    const pare_recipe *recipe;
    pare_output *output; /* NULL: all stays in `bytes` */
    pare_bytes bytes;    /* ids that are not written yet */
    pare_chain chain;
    pare_stored_document *documents;
    size_t n_documents, capacity;
    uint64_t n_tokens, forced_cuts;
    unsigned width;
    pare_tokens tokens; /* of one piece */
    pare_chain hash;    /* of the document so far */
    bool part_stored;   /* a part of it is in `documents` */
    const pare_source *source;
    size_t done, forgotten;         /* bytes of this source */
    double bytes_before, bytes_all; /* of all sources, for progress */
} maker;

/* Whole blocks to the file; `all`: the rest as well. */
static bool write_blocks(maker *m, bool all, pare_error *error) {
    size_t at = 0;
    while (m->bytes.length - at >= PARE_PIECE_BYTES || (all && at < m->bytes.length)) {
        size_t left = m->bytes.length - at, n = left < PARE_PIECE_BYTES ? left : PARE_PIECE_BYTES;
        if (!pare_chain_add(&m->chain, m->bytes.data + at, n, error) || !pare_output_write(m->output, m->bytes.data + at, n, error))
            return false;
        at += n;
    }
    if (at > 0)
        memmove(m->bytes.data, m->bytes.data + at, m->bytes.length - at);
    m->bytes.length -= at;
    return true;
}

static bool put(maker *m, const void *bytes, size_t n, pare_error *error) {
    return pare_bytes_push(&m->bytes, bytes, n, error) && (!m->output || write_blocks(m, false, error));
}

static bool put_ids(maker *m, const uint32_t *ids, size_t n, pare_error *error) {
    m->n_tokens += n;
    if (m->width == 4)
        return put(m, ids, n * 4, error);
    uint16_t narrow[1024];
    for (size_t at = 0; at < n;) {
        size_t i = 0;
        while (i < 1024 && at < n)
            narrow[i++] = (uint16_t)ids[at++];
        if (!put(m, narrow, i * sizeof *narrow, error))
            return false;
    }
    return true;
}

/* After each piece: the pages behind it are let go (a JSONL line lies elsewhere than its text, hence by the count done). */
static bool report(maker *m, size_t done, pare_error *error) {
    const pare_context *context = m->recipe->context;
    if (done - m->forgotten >= PARE_PIECE_BYTES) {
        if (m->source->file->mapped)
            pare_pages_forget(m->source->file->bytes + m->forgotten, done - m->forgotten);
        m->forgotten = done;
        pare_context_progress(context, "tokenise the texts", m->bytes_before + (double)done, m->bytes_all);
    }
    return pare_context_check(context, error);
}

/* Ids of a text, piece by piece. */
static bool put_text(maker *m, pare_chain *hash, pare_piece text, pare_error *error) {
    const pare_recipe *r = m->recipe;
    while (text.length > 0) {
        size_t length;
        bool forced;
        m->tokens.n = 0;
        if (!pare_piece_measure(&length, &forced, r->tokenizer, text.bytes, text.length, r->piece_bytes, error) ||
            !pare_chain_add(hash, text.bytes, length, error) ||
            !pare_tokenizer_encode(&m->tokens, r->tokenizer, text.bytes, length, 0, error) ||
            !put_ids(m, m->tokens.ids, m->tokens.n, error))
            return false;
        m->forced_cuts += forced;
        text.bytes += length;
        text.length -= length;
        uintptr_t offset = (uintptr_t)text.bytes - (uintptr_t)m->source->file->bytes;
        bool mapped = offset <= m->source->file->length; /* not a string that JSON was parsed to */
        if (!report(m, mapped ? offset : m->done, error))
            return false;
    }
    return true;
}

/* A document ends with the suffix of the tokenizer's template and the separator. */
static bool end_document(maker *m, pare_stored_document *stored, pare_error *error) {
    const pare_tokenizer *t = m->recipe->tokenizer;
    int64_t separator = m->recipe->separator;
    if (!put_ids(m, t->suffix, t->n_suffix, error))
        return false;
    if (separator < 0 || (t->n_suffix > 0 && t->suffix[t->n_suffix - 1] == separator))
        return true;
    uint32_t id = (uint32_t)separator;
    stored->flags |= PARE_STORED_SEPARATED;
    return put_ids(m, &id, 1, error);
}

/* The parts of a document have one hash, that of all of them: they are held out together. */
static void spread_hash(maker *m, uint64_t hash) {
    for (size_t i = m->n_documents; i-- > 0;) {
        m->documents[i].hash = hash;
        if (!(m->documents[i].flags & PARE_STORED_CONTINUES))
            break;
    }
}

static bool take_document(void *user, const pare_document *document, size_t done, pare_error *error) {
    maker *m = user;
    const pare_tokenizer *t = m->recipe->tokenizer;
    pare_stored_document stored = {0};
    uint64_t start = m->n_tokens;
    if (document->continues && m->part_stored)
        stored.flags |= PARE_STORED_CONTINUES;
    if (!document->continues)
        m->hash = (pare_chain){0}, m->part_stored = false;
    if ((!document->continues && !put_ids(m, t->prefix, t->n_prefix, error)) || !put_text(m, &m->hash, document->prompt, error))
        return false;
    if (document->answered) {
        stored.masked = m->n_tokens - start;
        stored.flags |= PARE_STORED_ANSWERED;
    }
    if (!pare_chain_add(&m->hash, "", 0, error) || !put_text(m, &m->hash, document->text, error) ||
        (!document->more && !end_document(m, &stored, error)))
        return false;
    m->done = done;
    if (m->n_tokens > start) { /* a tokenizer may have no token for any of its bytes */
        stored.end = m->n_tokens;
        if (!pare_grow((void **)&m->documents, &m->capacity, m->n_documents + 1, sizeof *m->documents, error))
            return false;
        m->documents[m->n_documents++] = stored;
        m->part_stored = true;
    }
    if (!document->more && m->part_stored)
        spread_hash(m, pare_chain_number(&m->hash));
    return report(m, done, error);
}

static bool read_sources(maker *m, pare_error *error) {
    const pare_recipe *r = m->recipe;
    for (size_t i = 0; i < r->n_sources; i++)
        m->bytes_all += (double)r->sources[i].file->length;
    for (size_t i = 0; i < r->n_sources; i++) {
        m->source = &r->sources[i];
        m->done = m->forgotten = 0;
        if (!pare_source_read(m->source, take_document, m, r->context, error))
            return false;
        m->bytes_before += (double)m->source->file->length;
    }
    if (m->n_documents == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "%s%s: no document with any text in it",
                         r->n_sources ? r->sources[0].file->path : "no file", r->n_sources > 1 ? " and the other files" : "");
    return true;
}

static bool write_trailer(maker *m, pare_error *error) {
    trailer t = {m->n_tokens, m->n_documents, m->forced_cuts, {0}, {0}};
    if (!pare_chain_add(&m->chain, &t, 3 * sizeof(uint64_t), error))
        return false;
    memcpy(t.hash, m->chain.state.hex, sizeof t.hash);
    memcpy(t.magic, magic, sizeof t.magic);
    return pare_output_write(m->output, &t, sizeof t, error);
}

static bool make_file(maker *m, pare_error *error) {
    header h = {.order = ORDER, .width = m->width};
    memcpy(h.magic, magic, sizeof h.magic);
    memcpy(h.key, m->recipe->key.hex, sizeof h.key);
    static const uint8_t zeros[ALIGN];
    return pare_output_write(m->output, &h, sizeof h, error) && read_sources(m, error) &&
           put(m, zeros, (ALIGN - m->n_tokens * m->width % ALIGN) % ALIGN, error) &&
           put(m, m->documents, m->n_documents * sizeof *m->documents, error) && write_blocks(m, true, error) && write_trailer(m, error);
}

bool pare_stored_make(pare_stored *store, const pare_recipe *recipe, const char *path, pare_error *error) {
    *store = (pare_stored){0};
    maker m = {.recipe = recipe, .width = pare_stored_width(recipe->tokenizer)};
    bool done;
    if (path) {
        done = (m.output = pare_output_open(path, true, error)) != NULL;
        if (done && !(done = make_file(&m, error)))
            pare_output_abandon(m.output);
        else if (done)
            done = pare_output_commit(m.output, error) && pare_stored_open(store, recipe, path, error);
    } else if ((done = read_sources(&m, error))) {
        *store = (pare_stored){.ids = (const uint8_t *)m.bytes.data,
                               .width = m.width,
                               .n_tokens = m.n_tokens,
                               .n_documents = m.n_documents,
                               .forced_cuts = m.forced_cuts,
                               .documents = m.documents,
                               .own_ids = m.bytes.data,
                               .own_documents = m.documents};
        m.bytes.data = NULL;
        m.documents = NULL;
    }
    pare_free(m.bytes.data);
    pare_free(m.documents);
    pare_tokens_free(&m.tokens);
    return done;
}

/* ---- opening a cache ---- */

unsigned pare_stored_width(const pare_tokenizer *tokenizer) {
    return pare_tokenizer_size(tokenizer) <= 65536 ? 2 : 4;
}

uint32_t pare_stored_id(const pare_stored *store, uint64_t index) {
    uint16_t narrow;
    uint32_t wide;
    if (store->width == 4) {
        memcpy(&wide, store->ids + index * 4, sizeof wide);
        return wide;
    }
    memcpy(&narrow, store->ids + index * 2, sizeof narrow);
    return narrow;
}

static bool bad(pare_error *error, const char *path, const char *why) {
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: not the token cache that was written here (%s)", path, why);
}

/* Header, trailer, and that the counts fill the file exactly. */
static bool check_frame(pare_stored *store, trailer *t, const pare_recipe *recipe, const char *path, pare_error *error) {
    header h;
    if (store->map.size < sizeof h + sizeof *t)
        return bad(error, path, "too short");
    memcpy(&h, store->map.data, sizeof h);
    memcpy(t, store->map.data + store->map.size - sizeof *t, sizeof *t);
    if (memcmp(h.magic, magic, sizeof magic) != 0 || memcmp(t->magic, magic, sizeof magic) != 0)
        return bad(error, path, "no token cache of this version");
    if (h.order != ORDER || h.width != pare_stored_width(recipe->tokenizer) || memcmp(h.key, recipe->key.hex, sizeof h.key) != 0)
        return bad(error, path, "made from something else");
    size_t body = store->map.size - sizeof h - sizeof *t;
    if (t->n_tokens == 0 || t->n_tokens > body / h.width || t->n_documents == 0 || t->n_documents > t->n_tokens)
        return bad(error, path, "its counts are too large");
    size_t ids = (t->n_tokens * h.width + ALIGN - 1) / ALIGN * ALIGN;
    if (ids > body || (body - ids) % sizeof(pare_stored_document) != 0 || (body - ids) / sizeof(pare_stored_document) != t->n_documents)
        return bad(error, path, "its counts do not fill it");
    store->ids = store->map.data + sizeof h;
    store->documents = (const pare_stored_document *)(const void *)(store->ids + ids);
    store->width = h.width;
    store->n_tokens = t->n_tokens;
    store->n_documents = t->n_documents;
    store->forced_cuts = t->forced_cuts;
    return true;
}

static bool check_content(const pare_stored *store, const pare_recipe *recipe, const char *path, pare_error *error) {
    uint64_t start = 0;
    for (uint64_t i = 0; i < store->n_documents; i++) {
        const pare_stored_document *d = &store->documents[i];
        if (d->end <= start || d->masked > d->end - start || d->flags > PARE_STORED_FLAGS)
            return bad(error, path, "a document that cannot be");
        start = d->end;
    }
    if (start != store->n_tokens)
        return bad(error, path, "documents that end elsewhere than the ids");
    size_t size = pare_tokenizer_size(recipe->tokenizer);
    for (uint64_t i = 0, block = PARE_PIECE_BYTES / store->width; i < store->n_tokens; i++) {
        if (pare_stored_id(store, i) >= size)
            return bad(error, path, "an id that is not in the vocabulary");
        if ((i + 1) % block == 0)
            pare_pages_forget(store->ids + (i + 1 - block) * store->width, PARE_PIECE_BYTES);
    }
    return true;
}

static bool check_hash(const pare_stored *store, const trailer *t, const pare_recipe *recipe, const char *path, pare_error *error) {
    pare_chain chain = {0};
    const uint8_t *end = store->map.data + store->map.size - sizeof *t;
    if (!pare_chain_add_all(&chain, store->ids, (size_t)(end - store->ids), true, recipe->context, error) ||
        !pare_chain_add(&chain, t, 3 * sizeof(uint64_t), error))
        return false;
    return memcmp(chain.state.hex, t->hash, sizeof t->hash) == 0 || bad(error, path, "its hash is another");
}

bool pare_stored_open(pare_stored *store, const pare_recipe *recipe, const char *path, pare_error *error) {
    *store = (pare_stored){0};
    trailer t;
    if (!pare_map_open(&store->map, path, error))
        return false;
    if (check_frame(store, &t, recipe, path, error) && check_content(store, recipe, path, error) &&
        check_hash(store, &t, recipe, path, error))
        return true;
    pare_stored_close(store);
    return false;
}

void pare_stored_close(pare_stored *store) {
    pare_map_close(&store->map);
    pare_free(store->own_ids);
    pare_free(store->own_documents);
    *store = (pare_stored){0};
}
