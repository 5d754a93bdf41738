/* dataset: stored ids as a training part and a held-out part, each one row of ids; windows cut from the rows; and the order of
 * the windows in an epoch.
 *
 * The order is a permutation that needs no table: a Feistel network of six rounds over the least 2^(2h) >= n with Philox as its
 * round function, walked until it falls below n (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002,
 * section 3). So any window of any epoch is found at once, also after a resume. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dataset_impl.h"

/* Documents in the order of the files. */
typedef struct {
    uint64_t *documents; /* indices into the store */
    uint64_t *starts;    /* where each begins in the row of ids; one more for the end of the last */
    uint64_t n;
} part;

struct pare_dataset {
    pare_stored store;
    part training, held_out;
    pare_dataset_facts facts;
    uint64_t seed;
    pare_data_order order;
};

/* ---- what is held out ---- */

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t lot(uint64_t seed, uint64_t hash) {
    pare_random random;
    pare_random_init(&random, seed, "held out", hash);
    uint64_t high = pare_random_u32(&random);
    return high << 32 | pare_random_u32(&random);
}

/* Each document draws a lot by its content; the smallest lots are held out. *bound: below it. */
static bool draw_bound(uint64_t *bound, const pare_stored *store, const pare_dataset_options *options, pare_error *error) {
    *bound = 0;
    if (options->held_out == 0)
        return true;
    uint64_t *lots = pare_allocate(store->n_documents, sizeof *lots, error);
    if (!lots)
        return false;
    for (uint64_t i = 0; i < store->n_documents; i++)
        lots[i] = lot(options->seed, store->documents[i].hash);
    qsort(lots, store->n_documents, sizeof *lots, by_value);
    uint64_t n = (uint64_t)(options->held_out * (double)store->n_documents + 0.5);
    uint64_t most = store->n_documents > 1 ? store->n_documents - 1 : 1;
    uint64_t last = n < 1 ? 0 : n < most ? n - 1 : most - 1;
    *bound = lots[last] == UINT64_MAX ? UINT64_MAX : lots[last] + 1;
    pare_free(lots);
    return true;
}

static bool fill_part(part *p, const pare_dataset *d, uint64_t bound, bool held_out, pare_error *error) {
    const pare_stored *store = &d->store;
    uint64_t n = 0;
    for (uint64_t i = 0; i < store->n_documents; i++)
        n += (bound > 0 && lot(d->seed, store->documents[i].hash) < bound) == held_out;
    if (!(p->documents = pare_allocate(n, sizeof *p->documents, error)) || !(p->starts = pare_allocate(n + 1, sizeof *p->starts, error)))
        return false;
    uint64_t start = 0, at = 0;
    for (uint64_t i = 0; i < store->n_documents; i++) {
        const pare_stored_document *stored = &store->documents[i];
        if ((bound > 0 && lot(d->seed, stored->hash) < bound) == held_out) {
            p->documents[p->n] = i;
            p->starts[p->n++] = at;
            at += stored->end - start;
            if (p->n == n && (stored->flags & ~(uint64_t)PARE_STORED_CONTINUES) == PARE_STORED_SEPARATED)
                at--; /* separators stand between documents; only a response ends in one */
        }
        start = stored->end;
    }
    p->starts[p->n] = at;
    return true;
}

static void free_part(part *p) {
    pare_free(p->documents);
    pare_free(p->starts);
}

/* ---- windows ---- */

/* The document that holds id `at` of the row. */
static uint64_t find_document(const part *p, uint64_t at) {
    uint64_t low = 0, high = p->n; /* starts[low] <= at < starts[high] */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        *(p->starts[middle] <= at ? &low : &high) = middle;
    }
    return low;
}

static void copy_window(uint32_t *ids, uint8_t *learn, const pare_dataset *d, const part *p, uint64_t index) {
    size_t length = d->facts.length;
    uint64_t at = index * length, document = find_document(p, at);
    for (size_t t = 0; t < length; document++) {
        uint64_t which = p->documents[document], begin = which ? d->store.documents[which - 1].end : 0;
        uint64_t first_learned = p->starts[document] + d->store.documents[which].masked;
        for (; t < length && at < p->starts[document + 1]; t++, at++) {
            ids[t] = pare_stored_id(&d->store, begin + (at - p->starts[document]));
            learn[t] = t > 0 && at >= first_learned;
        }
    }
}

static pare_dataset_part count_part(const pare_dataset *d, const part *p) {
    uint64_t length = d->facts.length;
    pare_dataset_part counts = {.tokens = p->starts[p->n], .windows = p->starts[p->n] / length};
    uint64_t stop = counts.windows * length;
    for (uint64_t i = 0; i < p->n; i++) {
        counts.documents += !(d->store.documents[p->documents[i]].flags & PARE_STORED_CONTINUES);
        uint64_t a = p->starts[i] + d->store.documents[p->documents[i]].masked, b = p->starts[i + 1] < stop ? p->starts[i + 1] : stop;
        if (a < b) /* but those at the start of a window */
            counts.targets += (b - a) - ((b + length - 1) / length - (a + length - 1) / length);
    }
    return counts;
}

static uint64_t permute(uint64_t index, uint64_t n, uint64_t seed, uint64_t epoch) {
    enum { ROUNDS = 6, LEAST_HALF_BITS = 4 };
    uint32_t keys[ROUNDS];
    pare_random random;
    pare_random_init(&random, seed, "window order", epoch);
    for (int round = 0; round < ROUNDS; round++)
        keys[round] = pare_random_u32(&random);
    unsigned half = LEAST_HALF_BITS;
    while (half < 32 && n > (uint64_t)1 << 2 * half)
        half++;
    uint32_t mask = (uint32_t)(((uint64_t)1 << half) - 1);
    do {
        uint32_t left = (uint32_t)(index >> half) & mask, right = (uint32_t)index & mask;
        for (int round = 0; round < ROUNDS; round++) {
            pare_random_init(&random, (uint64_t)keys[round] << 32 | right, "window order round", (uint64_t)round);
            uint32_t next = left ^ (pare_random_u32(&random) & mask);
            left = right;
            right = next;
        }
        index = (uint64_t)left << half | right;
    } while (index >= n);
    return index;
}

bool pare_dataset_window(uint32_t *ids, uint8_t *learn, const pare_dataset *dataset, uint64_t epoch, uint64_t index, pare_error *error) {
    uint64_t n = dataset->facts.training.windows;
    if (index >= n)
        return pare_fail(error, PARE_ERROR_RANGE, "window %llu was asked for, but there are %llu", (unsigned long long)index,
                         (unsigned long long)n);
    if (dataset->order == PARE_ORDER_SHUFFLED)
        index = permute(index, n, dataset->seed, epoch);
    copy_window(ids, learn, dataset, &dataset->training, index);
    return true;
}

bool pare_dataset_held_out_window(uint32_t *ids, uint8_t *learn, const pare_dataset *dataset, uint64_t index, pare_error *error) {
    uint64_t n = dataset->facts.held_out.windows;
    if (index >= n)
        return pare_fail(error, PARE_ERROR_RANGE, "held-out window %llu was asked for, but there are %llu", (unsigned long long)index,
                         (unsigned long long)n);
    copy_window(ids, learn, dataset, &dataset->held_out, index);
    return true;
}

/* ---- opening ---- */

static bool check_options(const pare_dataset_options *o, const pare_tokenizer *tokenizer, pare_error *error) {
    if (o->n_paths == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "no text to train on");
    if (o->length < 2 || o->length > UINT32_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "a window of %zu tokens: 2 to %u are possible", o->length, UINT32_MAX);
    if (!(o->held_out >= 0 && o->held_out < 1))
        return pare_fail(error, PARE_ERROR_RANGE, "%g of the documents to hold out: 0 to below 1 is possible", o->held_out);
    if (o->separator >= 0 && (uint64_t)o->separator >= pare_tokenizer_size(tokenizer))
        return pare_fail(error, PARE_ERROR_RANGE, "token %lld between documents: the tokenizer has ids below %zu", (long long)o->separator,
                         pare_tokenizer_size(tokenizer));
    return true;
}

typedef struct {
    pare_text_file *files;
    pare_source *sources;
    size_t n;
} inputs;

static void close_inputs(inputs *in) {
    for (size_t i = 0; i < in->n; i++)
        pare_text_file_close(&in->files[i]);
    pare_free(in->files);
    pare_free(in->sources);
}

static bool open_inputs(inputs *in, const pare_dataset_options *o, const pare_tokenizer *tokenizer, const pare_context *context,
                        pare_error *error) {
    if (!(in->files = pare_allocate(o->n_paths, sizeof *in->files, error)) ||
        !(in->sources = pare_allocate(o->n_paths, sizeof *in->sources, error)))
        return false;
    if (pare_tokenizer_note(tokenizer))
        pare_context_note(context, "%s", pare_tokenizer_note(tokenizer));
    for (; in->n < o->n_paths; in->n++) {
        if (!pare_text_file_open(&in->files[in->n], o->paths[in->n], context, error))
            return false;
        in->sources[in->n] = (pare_source){.file = &in->files[in->n], .tokenizer = tokenizer, .split = o->held_out > 0};
    }
    return true;
}

/* What the ids of rows depend on besides tokenizer and separator: how messages are rendered. */
static bool add_chat(pare_chain *chain, const pare_recipe *recipe, pare_error *error) {
    pare_string text = {0};
    bool rows = false;
    for (size_t i = 0; i < recipe->n_sources; i++)
        rows |= recipe->sources[i].file->rows;
    bool done = !rows || !pare_chat_identity(&text, recipe->tokenizer) ||
                (pare_string_check(&text, error) && pare_chain_add(chain, text.data, text.length, error));
    pare_string_free(&text);
    return done;
}

/* The key names what the ids are made from: contents, tokenizer, separator. With a rule or the code changed, the version. */
static bool make_key(pare_sha256 *contents, pare_recipe *recipe, pare_error *error) {
    pare_chain chain = {0};
    pare_string json = {0};
    bool done = pare_tokenizer_print_json(&json, recipe->tokenizer, error) && pare_chain_add(&chain, json.data, json.length, error);
    pare_string_free(&json);
    double all = 0, read = 0;
    for (size_t i = 0; i < recipe->n_sources; i++)
        all += (double)recipe->sources[i].file->length;
    for (size_t i = 0; done && i < recipe->n_sources; i++) {
        const pare_source *s = &recipe->sources[i];
        const pare_text_file *f = s->file;
        char text[80];
        snprintf(text, sizeof text, "%d %zu", f->rows ? 2 : s->split, f->length);
        pare_context_progress(recipe->context, "read the texts", read, all);
        done = pare_chain_add(&chain, text, strlen(text), error) &&
               pare_chain_add_all(&chain, (const uint8_t *)f->bytes, f->length, f->mapped, recipe->context, error);
        read += (double)f->length;
    }
    char last[80];
    snprintf(last, sizeof last, "separator %lld", (long long)recipe->separator);
    done = done && pare_chain_add(&chain, last, strlen(last), error) && add_chat(&chain, recipe, error);
    *contents = chain.state;
    done = done && pare_chain_add(&chain, PARE_VERSION, strlen(PARE_VERSION), error);
    recipe->key = chain.state;
    return done;
}

static bool make_identity(pare_sha256 *sha256, const pare_sha256 *contents, const pare_dataset_options *o, pare_error *error) {
    char text[256];
    snprintf(text, sizeof text, "%s length %zu held_out %.17g seed %llu order %d", contents->hex, o->length, o->held_out,
             (unsigned long long)o->seed, (int)o->order);
    return pare_sha256_bytes(sha256, text, strlen(text), error);
}

static bool open_store(pare_dataset *d, const pare_recipe *recipe, const char *folder, pare_error *error) {
    if (!folder)
        return pare_stored_make(&d->store, recipe, NULL, error);
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%.32s.ids", folder, recipe->key.hex) >= (int)sizeof path)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: the name of the cache folder is too long", folder);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return pare_fail(error, PARE_ERROR_IO, "%s: cannot create the folder of the token cache: %s", folder, strerror(errno));
    if (pare_path_exists(path)) {
        pare_error why = {0};
        if (pare_stored_open(&d->store, recipe, path, &why)) {
            d->facts.from_cache = true;
            return true;
        }
        if (why.code == PARE_ERROR_CANCELLED || why.code == PARE_ERROR_MEMORY) {
            pare_fail(error, why.code, "%s", why.message);
            return false;
        }
        snprintf(d->facts.remark, sizeof d->facts.remark, "%.400s; its text was tokenised again", why.message);
    }
    return pare_stored_make(&d->store, recipe, path, error);
}

/* Each part must give something to work with. */
static bool check_parts(const pare_dataset *d, const pare_dataset_options *o, pare_error *error) {
    const pare_dataset_part *training = &d->facts.training, *held_out = &d->facts.held_out;
    const char *path = o->paths[0], *others = o->n_paths > 1 ? " and the other files" : "";
    if (o->held_out > 0 && training->documents == 0)
        return pare_fail(
            error, PARE_ERROR_RANGE,
            "%s%s: %llu document(s), all alike or too few to hold some out and train on others; name a text of its own to evaluate on, "
            "or hold out nothing",
            path, others, (unsigned long long)held_out->documents);
    if (training->windows == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "%s%s: %llu tokens to train on, but a window takes %zu", path, others,
                         (unsigned long long)training->tokens, o->length);
    if (training->targets == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "%s%s: no token to learn in %llu windows: all of them are prompts", path, others,
                         (unsigned long long)training->windows);
    if (o->held_out > 0 && held_out->windows == 0)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "%s%s: the held-out part (%llu documents) has %llu tokens, but a window takes %zu; hold out a larger share", path,
                         others, (unsigned long long)held_out->documents, (unsigned long long)held_out->tokens, o->length);
    return true;
}

static bool fill(pare_dataset *d, const inputs *in, const pare_dataset_options *o, const pare_tokenizer *tokenizer,
                 const pare_context *context, pare_error *error) {
    pare_recipe recipe = {in->sources, in->n, PARE_PIECE_BYTES, tokenizer, o->separator < 0 ? -1 : o->separator, context, {{0}}};
    pare_sha256 contents;
    uint64_t bound;
    for (size_t i = 0; i < in->n; i++)
        d->facts.bytes += in->files[i].length;
    if (!make_key(&contents, &recipe, error) || !make_identity(&d->facts.sha256, &contents, o, error) ||
        !open_store(d, &recipe, o->cache, error) || !draw_bound(&bound, &d->store, o, error) ||
        !fill_part(&d->training, d, bound, false, error) || !fill_part(&d->held_out, d, bound, true, error))
        return false;
    d->facts.forced_cuts = d->store.forced_cuts;
    d->facts.training = count_part(d, &d->training);
    d->facts.held_out = count_part(d, &d->held_out);
    return check_parts(d, o, error);
}

pare_dataset *pare_dataset_open(const pare_dataset_options *options, const pare_tokenizer *tokenizer, const pare_context *context,
                                pare_error *error) {
    if (!check_options(options, tokenizer, error))
        return NULL;
    pare_dataset *dataset = pare_allocate(1, sizeof *dataset, error);
    if (!dataset)
        return NULL;
    dataset->facts.length = options->length;
    dataset->seed = options->seed;
    dataset->order = options->order;
    inputs in = {0};
    bool done = open_inputs(&in, options, tokenizer, context, error) && fill(dataset, &in, options, tokenizer, context, error);
    close_inputs(&in);
    if (done)
        return dataset;
    pare_dataset_close(dataset);
    return NULL;
}

void pare_dataset_close(pare_dataset *dataset) {
    if (!dataset)
        return;
    pare_stored_close(&dataset->store);
    free_part(&dataset->training);
    free_part(&dataset->held_out);
    pare_free(dataset);
}

const pare_dataset_facts *pare_dataset_facts_of(const pare_dataset *dataset) {
    return &dataset->facts;
}
