/* write: a checkpoint under a cut becomes a Hugging Face folder that stock transformers loads.
 *
 *   plan    the tensors of the smaller configuration, numerically by layer, dealt to shards
 *   stream  per shard one header, then panel after panel of each tensor: bytes as they are when the type stays, else by f32;
 *           a buffer of a few MiB, mapped pages let go behind it
 *   verify  the finished folder is opened by pare's own reader, and held against the plan, before it gets its name
 */
#include <stdio.h>
#include <string.h>

#include "format/format.h"
#include "pare/cut.h"
#include "pare/trainable.h"

enum { PANEL_BYTES = 4 << 20 };

static const uint64_t default_shard_bytes = 5000000000u;

typedef struct {
    const char *name;
    bool stored;          /* no: a bias that Hugging Face's Llama wants and the source lacks: zeros */
    pare_view view;       /* what is left of it, and its adapter */
    pare_factors factors; /* of a matrix that is a product in the source */
    pare_tensor *made;    /* NULL, or what the view is of: its data there only while it is written */
    uint32_t n_dims;
    uint64_t dims[PARE_TENSOR_DIMS], n_bytes, offset; /* offset: in its shard's data */
    uint32_t shard;
} entry;

typedef struct {
    const pare_checkpoint *checkpoint;
    const pare_cut *cut;
    const pare_adapters *adapters; /* NULL: none */
    pare_config config;            /* of what is written */
    pare_dtype dtype;
    const char *note;
    const pare_context *context;
    pare_arena *arena;
    entry *entries;
    size_t n_entries, capacity;
    uint32_t n_shards;
    uint64_t total, done;
    pare_output *output;
    uint8_t *panel;          /* panel_bytes of output */
    float *values, *scratch; /* of the panel as f32; of one stored row per thread */
    size_t panel_bytes, scratch_each;
    int n_threads;
} writer;

/* ---- plan ---- */

/* Llama's attention_bias and its class cover q, k, v and o together: a source with the first three gets zeros for o. */
static bool fit_config(pare_config *config, bool whole, pare_error *error) {
    if (whole)
        config->ranks = NULL; /* products are multiplied out */
    if (config->arch == PARE_ARCH_LLAMA && config->attention_bias)
        config->output_bias = true;
    bool llama = config->arch == PARE_ARCH_LLAMA,
         fits = llama ? config->output_bias == config->attention_bias : !config->output_bias && !config->mlp_bias;
    return fits || pare_fail(error, PARE_ERROR_UNSUPPORTED, "no Hugging Face configuration of %s says which biases this model has",
                             pare_arch_name(config->arch));
}

/* A matrix that is multiplied out, or a factor that takes up an adapter. */
static bool plan_made(entry *e, writer *w, pare_error *error) {
    if (!(e->made = PARE_PUSH(w->arena, pare_tensor, 1, error)))
        return false;
    *e->made = (pare_tensor){.dtype = PARE_DTYPE_F32, .n_dims = e->n_dims, .source = w->checkpoint->path};
    memcpy(e->made->dims, e->dims, e->n_dims * sizeof *e->dims);
    e->view = pare_view_all(e->made);
    e->stored = true;
    return true;
}

static bool plan_tensor(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    writer *w = user;
    void *entries = w->entries;
    if (!pare_grow(&entries, &w->capacity, w->n_entries + 1, sizeof *w->entries, error))
        return false;
    w->entries = entries;
    entry *e = &w->entries[w->n_entries++];
    e->name = pare_arena_copy(w->arena, name, strlen(name), error);
    e->n_dims = n_dims;
    memcpy(e->dims, dims, n_dims * sizeof *dims);
    e->factors = pare_factors_find(pare_cut_config(w->cut, w->checkpoint), name);
    if (pare_factors_made(&e->factors, w->adapters)) {
        if (!plan_made(e, w, error))
            return false;
    } else {
        e->stored = pare_cut_find(&e->view, w->cut, w->checkpoint, name);
        e->view.merged = w->adapters ? pare_adapters_find(w->adapters, name) : NULL;
    }
    if (!e->name || !pare_shape_bytes(&e->n_bytes, w->dtype, n_dims, dims))
        return e->name && pare_fail(error, PARE_ERROR_SHAPE, "tensor %s: its size overflows", name);
    uint64_t columns = n_dims == 2 ? dims[1] : 1;
    if (e->stored && (e->view.n_rows != dims[0] || e->view.n_columns != columns))
        return pare_fail(error, PARE_ERROR_SHAPE, "tensor %s: the cut leaves [%u, %u], the configuration asks for [%llu, %llu]", name,
                         e->view.n_rows, e->view.n_columns, (unsigned long long)dims[0], (unsigned long long)columns);
    return true;
}

/* First fit in order: a shard is closed when the next tensor would make it too large. */
static void deal_shards(writer *w, uint64_t shard_bytes) {
    uint64_t used = 0;
    uint32_t shard = 0;
    for (size_t i = 0; i < w->n_entries; i++) {
        entry *e = &w->entries[i];
        if (used && (used >= shard_bytes || e->n_bytes > shard_bytes - used)) {
            shard++;
            used = 0;
        }
        e->shard = shard;
        e->offset = used;
        used += e->n_bytes;
        w->total += e->n_bytes;
    }
    w->n_shards = shard + 1;
}

/* A panel holds at least one row of everything that is written, and of everything read for it. */
static bool allocate_buffers(writer *w, pare_error *error) {
    uint64_t out = 1, in = 1;
    for (size_t i = 0; i < w->n_entries; i++) {
        const entry *e = &w->entries[i];
        uint64_t row = e->n_dims == 2 ? e->dims[1] : 1, source_row = e->stored ? pare_tensor_columns(e->view.tensor) : 1;
        out = row > out ? row : out;
        in = source_row > in ? source_row : in;
    }
    size_t item = pare_dtype_info(w->dtype)->bytes;
    w->panel_bytes = out * item > PANEL_BYTES ? (size_t)out * item : PANEL_BYTES;
    w->panel = PARE_PUSH(w->arena, uint8_t, w->panel_bytes, error);
    w->values = PARE_PUSH(w->arena, float, w->panel_bytes / item, error);
    w->scratch_each = (size_t)in;
    w->scratch = pare_arena_push(w->arena, (size_t)w->n_threads, w->scratch_each * sizeof *w->scratch, error);
    return w->panel && w->values && w->scratch;
}

/* ---- stream ---- */

static bool fail_weight(const writer *w, const entry *e, uint64_t element, bool overflow, pare_error *error) {
    uint64_t columns = e->n_dims == 2 ? e->dims[1] : 1;
    return pare_fail(error, PARE_ERROR_NUMERIC, "%s: tensor %s: the weight written at [%llu, %llu] %s%s", w->checkpoint->path, e->name,
                     (unsigned long long)(element / columns), (unsigned long long)(element % columns),
                     overflow ? "is too large for " : "is NaN or infinite", overflow ? pare_dtype_info(w->dtype)->name : "");
}

/* The kept elements of `n` rows in the stored type, which is the written one. */
static void gather_rows(uint8_t *out, const pare_view *view, uint32_t first, uint32_t n) {
    size_t item = pare_dtype_info(view->tensor->dtype)->bytes, row_bytes = view->n_columns * item;
    for (uint32_t i = 0; i < n; i++, out += row_bytes) {
        const uint8_t *row = pare_tensor_row(view->tensor, view->rows ? view->rows[first + i] : first + i);
        if (!view->columns)
            memcpy(out, row, row_bytes);
        else if (item == 2)
            for (uint32_t j = 0; j < view->n_columns; j++)
                memcpy(out + 2 * (size_t)j, row + 2 * (size_t)view->columns[j], 2);
        else
            for (uint32_t j = 0; j < view->n_columns; j++)
                memcpy(out + 4 * (size_t)j, row + 4 * (size_t)view->columns[j], 4);
    }
}

/* Each thread makes its share of the panel's rows; what a row becomes does not depend on who makes it. */
static void fill_panel(writer *w, const pare_view *view, uint32_t first, uint32_t n) {
    size_t row_bytes = view->n_columns * pare_dtype_info(w->dtype)->bytes;
    int n_threads = w->n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n > 64)
    for (int t = 0; t < n_threads; t++) {
        uint32_t from = (uint32_t)((uint64_t)n * (unsigned)t / (unsigned)n_threads),
                 to = (uint32_t)((uint64_t)n * (unsigned)(t + 1) / (unsigned)n_threads);
        uint8_t *out = w->panel + from * row_bytes;
        float *values = w->values + (size_t)from * view->n_columns;
        if (view->tensor->dtype == w->dtype && !view->merged) {
            gather_rows(out, view, first + from, to - from);
        } else {
            pare_view_read(values, view, first + from, to - from, w->scratch + (size_t)t * w->scratch_each);
            pare_dtype_pack(out, w->dtype, values, (size_t)(to - from) * view->n_columns);
        }
    }
}

/* Rows [first, first + n) of the view as they will lie in the file: in the map itself where they already do, else in the panel. */
static const uint8_t *panel_bytes(writer *w, const pare_view *view, uint32_t first, uint32_t n) {
    const pare_tensor *tensor = view->tensor;
    if (tensor->dtype == w->dtype && !view->rows && !view->columns && !view->merged && !tensor->rotary_pairs)
        return pare_tensor_row(tensor, first);
    fill_panel(w, view, first, n);
    return w->panel;
}

static bool stream_panel(writer *w, const entry *e, const pare_view *view, uint32_t first, uint32_t n, pare_error *error) {
    size_t item = pare_dtype_info(w->dtype)->bytes, n_weights = (size_t)n * view->n_columns;
    const uint8_t *bytes = panel_bytes(w, view, first, n);
    size_t bad = pare_bytes_first_bad(w->dtype, bytes, n_weights);
    if (bad < n_weights) {
        bool overflow = (view->tensor->dtype != w->dtype || view->merged) &&
                        pare_bytes_first_bad(PARE_DTYPE_F32, (const uint8_t *)&w->values[bad], 1) == 1;
        return fail_weight(w, e, (uint64_t)first * view->n_columns + bad, overflow, error);
    }
    if (!pare_context_check(w->context, error) || !pare_output_write(w->output, bytes, n_weights * item, error))
        return false;
    w->done += n_weights * item;
    pare_context_progress(w->context, "write the checkpoint", (double)w->done, (double)w->total);
    pare_cut_drop_rows(view, first, n, w->cut, w->checkpoint);
    return true;
}

static bool stream_zeros(writer *w, const entry *e, pare_error *error) {
    static const uint8_t zeros[4096];
    for (uint64_t left = e->n_bytes, n; left; left -= n) {
        n = left < sizeof zeros ? left : sizeof zeros;
        if (!pare_output_write(w->output, zeros, (size_t)n, error))
            return false;
    }
    w->done += e->n_bytes;
    return true;
}

static bool stream_stored(writer *w, const entry *e, pare_error *error) {
    const pare_view *view = &e->view;
    uint32_t rows = (uint32_t)(w->panel_bytes / (view->n_columns * pare_dtype_info(w->dtype)->bytes));
    for (uint32_t first = 0; first < view->n_rows; first += rows) {
        uint32_t n = view->n_rows - first < rows ? view->n_rows - first : rows;
        if (!stream_panel(w, e, view, first, n, error))
            return false;
        if (view->n_rows - first <= rows)
            break;
    }
    return true;
}

static bool stream_tensor(writer *w, const entry *e, pare_error *error) {
    if (!e->stored)
        return stream_zeros(w, e, error);
    if (!e->made)
        return stream_stored(w, e, error);
    float *values = pare_factors_make(&e->factors, w->checkpoint, w->cut, w->adapters, w->n_threads, error);
    e->made->data = (const uint8_t *)values;
    bool done = values && stream_stored(w, e, error);
    e->made->data = NULL;
    pare_free(values);
    return done;
}

/* Header length, header; padded with spaces so that the data starts at a multiple of 8. */
static bool write_header(writer *w, uint32_t shard, pare_error *error) {
    static const char *const words[] = {"F32", "F16", "BF16"};
    pare_string header = {0};
    pare_string_print(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < w->n_entries; i++) {
        const entry *e = &w->entries[i];
        if (e->shard != shard)
            continue;
        pare_string_print(&header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%llu", e->name, words[w->dtype], (unsigned long long)e->dims[0]);
        for (uint32_t d = 1; d < e->n_dims; d++)
            pare_string_print(&header, ",%llu", (unsigned long long)e->dims[d]);
        pare_string_print(&header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)e->offset,
                          (unsigned long long)(e->offset + e->n_bytes));
    }
    pare_string_print(&header, "}");
    pare_string_print(&header, "%*s", (int)((8 - header.length % 8) % 8), "");
    uint8_t length[8];
    for (unsigned i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)header.length >> (8 * i));
    bool done = pare_string_check(&header, error) && pare_output_write(w->output, length, sizeof length, error) &&
                pare_output_write(w->output, header.data, header.length, error);
    pare_string_free(&header);
    return done;
}

static const char *shard_name(char text[48], uint32_t shard, uint32_t n_shards) {
    if (n_shards == 1)
        snprintf(text, 48, "model.safetensors");
    else
        snprintf(text, 48, "model-%05u-of-%05u.safetensors", shard + 1, n_shards);
    return text;
}

static bool write_shard(writer *w, const char *folder, uint32_t shard, pare_error *error) {
    char name[48];
    char *path = pare_arena_format(w->arena, error, "%s/%s", folder, shard_name(name, shard, w->n_shards));
    if (!path || !(w->output = pare_output_open(path, false, error)))
        return false;
    bool done = write_header(w, shard, error);
    for (size_t i = 0; done && i < w->n_entries; i++)
        if (w->entries[i].shard == shard)
            done = stream_tensor(w, &w->entries[i], error);
    if (done)
        return pare_output_commit(w->output, error);
    pare_output_abandon(w->output);
    return false;
}

static bool write_index(writer *w, const char *folder, pare_error *error) {
    char name[48];
    if (w->n_shards == 1)
        return true;
    pare_json_doc doc = {0};
    json_t *map = pare_json_object(&doc);
    for (size_t i = 0; i < w->n_entries; i++)
        pare_json_set(&doc, map, w->entries[i].name, pare_json_string(&doc, shard_name(name, w->entries[i].shard, w->n_shards)));
    json_t *index = pare_json_pack(&doc, "{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)w->total, "weight_map", map);
    bool done = pare_hf_json_write(folder, "model.safetensors.index.json", index, &doc, error);
    json_decref(index);
    return done;
}

/* ---- verify ---- */

static bool verify(const writer *w, const char *folder, pare_error *error) {
    pare_checkpoint *back = pare_checkpoint_open(folder, error);
    if (!back)
        return false;
    bool done = true;
    if (back->n_tensors != w->n_entries)
        done =
            pare_fail(error, PARE_ERROR_SHAPE, "%s: %zu tensors were read back, %zu were written", folder, back->n_tensors, w->n_entries);
    for (size_t i = 0; done && i < w->n_entries; i++) {
        const entry *e = &w->entries[i];
        const pare_tensor *tensor = pare_checkpoint_find(back, e->name);
        if (!tensor || tensor->dtype != w->dtype || tensor->n_dims != e->n_dims ||
            memcmp(tensor->dims, e->dims, e->n_dims * sizeof *e->dims) != 0)
            done = pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s did not come back as it was written", folder, e->name);
    }
    pare_checkpoint_close(back);
    return done;
}

static bool write_folder(writer *w, const char *folder, pare_error *error) {
    for (uint32_t shard = 0; shard < w->n_shards; shard++)
        if (!write_shard(w, folder, shard, error))
            return false;
    json_t *config = pare_hf_config_write(w->checkpoint, &w->config, w->dtype, error);
    bool done = config && pare_hf_json_write(folder, "config.json", config, NULL, error) && write_index(w, folder, error) &&
                pare_hf_extras_write(folder, w->checkpoint, error) &&
                (!w->note || pare_hf_text_write(folder, "pare.json", w->note, strlen(w->note), error)) && verify(w, folder, error);
    json_decref(config);
    return done;
}

/* Factors take up the adapters. */
static bool grow_ranks(writer *w, pare_error *error) {
    if (!w->config.ranks || !w->adapters)
        return true;
    pare_layer_ranks *ranks = PARE_PUSH(w->arena, pare_layer_ranks, w->config.n_layers, error);
    if (ranks)
        w->config.ranks = pare_factors_grow(ranks, &w->config, w->adapters) ? ranks : NULL;
    return ranks != NULL;
}

bool pare_checkpoint_write_in(const char *folder, const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_adapters *adapters,
                              pare_dtype dtype, uint64_t shard_bytes, const char *note, bool whole, const pare_context *context,
                              pare_error *error) {
    if (dtype != PARE_DTYPE_F32 && dtype != PARE_DTYPE_F16 && dtype != PARE_DTYPE_BF16)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: checkpoints are written in f32, f16 or bf16", folder);
    writer w = {.checkpoint = checkpoint,
                .cut = cut,
                .adapters = adapters,
                .config = *pare_cut_config(cut, checkpoint),
                .dtype = dtype,
                .note = note,
                .context = context,
                .n_threads = pare_context_threads(context)};
    if (!fit_config(&w.config, whole, error) || !(w.arena = pare_arena_open(error)))
        return false;
    bool done = grow_ranks(&w, error) && pare_config_visit_tensors(&w.config, plan_tensor, &w, error);
    if (done) {
        deal_shards(&w, shard_bytes ? shard_bytes : default_shard_bytes);
        done = allocate_buffers(&w, error) && write_folder(&w, folder, error);
    }
    pare_free(w.entries);
    pare_arena_close(w.arena);
    return done;
}

static bool write_checkpoint(const char *path, const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_adapters *adapters,
                             pare_dtype dtype, uint64_t shard_bytes, const char *note, bool whole, const pare_context *context,
                             pare_error *error) {
    pare_folder *folder = pare_folder_open(path, false, error);
    return folder && pare_folder_close(folder,
                                       pare_checkpoint_write_in(pare_folder_path(folder), checkpoint, cut, adapters, dtype, shard_bytes,
                                                                note, whole, context, error),
                                       error);
}

bool pare_checkpoint_write(const char *path, const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_adapters *adapters,
                           pare_dtype dtype, uint64_t shard_bytes, const char *note, const pare_context *context, pare_error *error) {
    return write_checkpoint(path, checkpoint, cut, adapters, dtype, shard_bytes, note, false, context, error);
}

bool pare_checkpoint_write_whole(const char *path, const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_adapters *adapters,
                                 pare_dtype dtype, uint64_t shard_bytes, const char *note, const pare_context *context, pare_error *error) {
    return write_checkpoint(path, checkpoint, cut, adapters, dtype, shard_bytes, note, true, context, error);
}
