/* gguf_write: a checkpoint under a cut becomes a GGUF file that llama.cpp loads.
 *
 *   plan    architecture, the tensors in the order of the configuration, each with its type and the view it comes from
 *   head    metadata (gguf_metadata.c) and tensor descriptions
 *   stream  panel after panel of each tensor: rows as they are when the type stays, else by f32; mapped pages let go behind it
 *   verify  the finished file is opened by pare's own reader, and held against the plan, before it gets its name
 */
#include <string.h>

#include "format/format.h"
#include "pare/cut.h"

enum { PANEL_WEIGHTS = 1 << 20, ALIGNMENT = 32 };

typedef struct {
    const char *name, *spelled; /* as Hugging Face and as GGUF call it; name NULL: rope_freqs.weight, which only GGUF has */
    pare_view view;             /* rows in the order in which they are written */
    pare_factors factors;       /* of a matrix that is a product in the source */
    pare_tensor *product;       /* NULL, or what the view is of: its data there only while it is written */
    pare_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[PARE_TENSOR_DIMS], n_bytes, offset; /* offset: in the file's data */
} entry;

typedef struct {
    const pare_checkpoint *checkpoint;
    const pare_cut *cut;
    pare_config config; /* of what is written */
    const char *arch;
    pare_dtype dtype; /* of all matrices; PARE_DTYPE_COUNT: each as it is stored */
    const pare_context *context;
    pare_arena *arena;
    entry *entries;
    size_t n_entries, capacity;
    uint64_t total, done, head_bytes;
    pare_export result;
    pare_output *output;
    uint8_t *panel;          /* of the file's bytes */
    float *values, *scratch; /* of the panel as f32; of one stored row per thread */
    size_t panel_weights, scratch_each;
    int n_threads;
} writer;

/* ---- plan ---- */

/* llama.cpp's qwen2 has heads as wide as the model, biases at q, k and v alone, and no rope_freqs; its llama takes every one of pare's. */
static const char *choose_arch(const pare_config *c) {
    bool plain = c->rope.type == PARE_ROPE_DEFAULT || c->rope.type == PARE_ROPE_LINEAR;
    bool fits = c->arch == PARE_ARCH_QWEN2 && plain && (uint64_t)c->n_heads * c->head_dim == c->width && c->attention_bias &&
                !c->output_bias && !c->mlp_bias;
    return fits ? "qwen2" : "llama";
}

static entry *push_entry(writer *w, pare_error *error) {
    void *entries = w->entries;
    if (!pare_grow(&entries, &w->capacity, w->n_entries + 1, sizeof *w->entries, error))
        return NULL;
    w->entries = entries;
    return &w->entries[w->n_entries++];
}

/* A tensor that lies in the arena: all zeros, to be filled. */
static float *made_tensor(pare_view *view, writer *w, uint64_t n, pare_error *error) {
    pare_tensor *tensor = PARE_PUSH(w->arena, pare_tensor, 1, error);
    float *values = tensor ? PARE_PUSH(w->arena, float, (size_t)n, error) : NULL;
    if (!values)
        return NULL;
    *tensor = (pare_tensor){.dtype = PARE_DTYPE_F32,
                            .n_dims = 1,
                            .dims = {n},
                            .data = (const uint8_t *)values,
                            .n_bytes = n * sizeof *values,
                            .source = "export"};
    *view = pare_view_all(tensor);
    return values;
}

/* Half-split to adjacent pairs: of each head, row 2i is logical row i and row 2i + 1 is logical row i + head_dim / 2. */
static bool pair_rows(pare_view *view, writer *w, pare_error *error) {
    uint32_t head = w->config.head_dim, *rows = PARE_PUSH(w->arena, uint32_t, view->n_rows, error);
    if (!rows)
        return false;
    for (uint32_t r = 0; r < view->n_rows; r++) {
        uint32_t j = r % head, logical = r - j + j / 2 + (j % 2 ? head / 2 : 0);
        rows[r] = view->rows ? view->rows[logical] : logical;
    }
    view->rows = rows;
    return true;
}

static bool keeps_bits(const entry *e) {
    return e->view.tensor->dtype == e->dtype && !e->view.columns;
}

/* Vectors are f32. A matrix whose rows are no whole blocks becomes f16, which llama.cpp takes beside any type; so does one of a type that
 * can only be kept as it is, when columns are cut. */
static bool choose_type(entry *e, writer *w, pare_error *error) {
    pare_dtype stored = e->product ? w->checkpoint->dtype : e->view.tensor->dtype;
    e->dtype = e->n_dims == 1 ? PARE_DTYPE_F32 : w->dtype == PARE_DTYPE_COUNT ? stored : w->dtype;
    bool whole = e->n_dims == 1 || e->dims[1] % pare_dtype_info(e->dtype)->block == 0;
    if (!whole || (!keeps_bits(e) && !pare_dtype_writable(e->dtype))) {
        e->dtype = PARE_DTYPE_F16;
        w->result.n_fallbacks++;
        pare_string_print(&w->result.fallbacks, "%s\n", e->spelled);
    }
    return pare_shape_bytes(&e->n_bytes, e->dtype, e->n_dims, e->dims) ||
           pare_fail(error, PARE_ERROR_SHAPE, "tensor %s: its size overflows", e->name);
}

static bool check_view(const entry *e, pare_error *error) {
    uint64_t columns = e->n_dims == 2 ? e->dims[1] : 1;
    return (e->view.n_rows == e->dims[0] && e->view.n_columns == columns) ||
           pare_fail(error, PARE_ERROR_SHAPE, "tensor %s: the cut leaves [%u, %u], the configuration asks for [%llu, %llu]", e->name,
                     e->view.n_rows, e->view.n_columns, (unsigned long long)e->dims[0], (unsigned long long)columns);
}

/* GGUF knows no factors: a product of two is multiplied out. A bias that the configuration has and the source lacks is zero. */
static bool find_view(entry *e, writer *w, pare_error *error) {
    e->factors = pare_factors_find(pare_cut_config(w->cut, w->checkpoint), e->name);
    if (e->factors.part == PARE_FACTORS_NONE)
        return pare_cut_find(&e->view, w->cut, w->checkpoint, e->name) || made_tensor(&e->view, w, e->dims[0], error);
    if (!(e->product = PARE_PUSH(w->arena, pare_tensor, 1, error)))
        return false;
    *e->product = (pare_tensor){.dtype = PARE_DTYPE_F32, .n_dims = e->n_dims, .source = "export"};
    memcpy(e->product->dims, e->dims, e->n_dims * sizeof *e->dims);
    e->view = pare_view_all(e->product);
    return true;
}

static bool plan_tensor(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    writer *w = user;
    char spelled[96];
    bool rotary;
    entry *e = push_entry(w, error);
    if (!e)
        return false;
    *e = (entry){.n_dims = n_dims};
    memcpy(e->dims, dims, n_dims * sizeof *dims);
    if (!pare_gguf_spell(spelled, &rotary, name))
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "tensor %s: GGUF has no name for it", name);
    if (!(e->name = pare_arena_copy(w->arena, name, strlen(name), error)) ||
        !(e->spelled = pare_arena_copy(w->arena, spelled, strlen(spelled), error)))
        return false;
    if (!find_view(e, w, error))
        return false;
    bool paired = rotary && strcmp(w->arch, "llama") == 0;
    return check_view(e, error) && (!paired || pair_rows(&e->view, w, error)) && choose_type(e, w, error);
}

/* What Llama-3's scaling divides each frequency by; llama.cpp knows it as a tensor alone. */
static bool plan_rope_factors(writer *w, pare_error *error) {
    const pare_config *c = &w->config;
    if (c->rope.type != PARE_ROPE_LLAMA3 && c->rope.type != PARE_ROPE_FACTORS)
        return true;
    entry *e = push_entry(w, error);
    if (!e)
        return false;
    uint64_t n = c->head_dim / 2;
    *e = (entry){.spelled = "rope_freqs.weight", .dtype = PARE_DTYPE_F32, .n_dims = 1, .dims = {n}, .n_bytes = n * sizeof(float)};
    float *factors = made_tensor(&e->view, w, n, error);
    for (uint32_t i = 0; factors && i < n; i++)
        factors[i] = (float)pare_rope_factor(&c->rope, i, c->head_dim);
    return factors != NULL;
}

static uint64_t aligned(uint64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool plan(writer *w, pare_error *error) {
    if (w->config.shapes)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "layers of different shapes: llama.cpp's llama and qwen2 take their widths from the first layer");
    if (w->config.shortcuts)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "a rotation for each norm (slice): llama.cpp has no matrix beside attention and FFN. Cut by slice-global instead");
    w->config.ranks = NULL;
    w->arch = w->result.architecture = choose_arch(&w->config);
    if (!plan_rope_factors(w, error) || !pare_config_visit_tensors(&w->config, plan_tensor, w, error))
        return false;
    for (size_t i = 0; i < w->n_entries; i++) {
        w->entries[i].offset = w->total;
        w->total += aligned(w->entries[i].n_bytes);
    }
    w->result.n_tensors = w->n_entries;
    return pare_string_check(&w->result.fallbacks, error);
}

/* A panel holds at least one row of everything that is written. */
static bool allocate_buffers(writer *w, pare_error *error) {
    uint64_t out = PANEL_WEIGHTS, in = 1;
    for (size_t i = 0; i < w->n_entries; i++) {
        const pare_view *view = &w->entries[i].view;
        uint64_t source_row = pare_view_scratch(view);
        out = view->n_columns > out ? view->n_columns : out;
        in = source_row > in ? source_row : in;
    }
    w->panel_weights = (size_t)out;
    w->panel = PARE_PUSH(w->arena, uint8_t, w->panel_weights * sizeof(float), error);
    w->values = PARE_PUSH(w->arena, float, w->panel_weights, error);
    w->scratch_each = (size_t)in;
    w->scratch = pare_arena_push(w->arena, (size_t)w->n_threads, w->scratch_each * sizeof *w->scratch, error);
    return w->panel && w->values && w->scratch;
}

/* ---- head ---- */

static void print_tensors(pare_string *head, const writer *w) {
    for (size_t i = 0; i < w->n_entries; i++) {
        const entry *e = &w->entries[i];
        pare_gguf_push_text(head, e->spelled, strlen(e->spelled));
        pare_gguf_push_number(head, e->n_dims, 4);
        for (uint32_t d = e->n_dims; d > 0; d--) /* fastest first */
            pare_gguf_push_number(head, e->dims[d - 1], 8);
        pare_gguf_push_number(head, pare_gguf_type_number(e->dtype), 4);
        pare_gguf_push_number(head, e->offset, 8);
    }
}

static bool write_padding(writer *w, uint64_t written, pare_error *error) {
    static const uint8_t zeros[ALIGNMENT];
    return pare_output_write(w->output, zeros, (size_t)(aligned(written) - written), error);
}

static bool write_head(writer *w, pare_error *error) {
    pare_gguf_entries entries = {0};
    pare_string head = {0};
    pare_dtype most = w->dtype == PARE_DTYPE_COUNT ? w->checkpoint->dtype : w->dtype;
    bool done = pare_gguf_metadata(&entries, w->checkpoint, &w->config, w->arch, most, error);
    if (done) {
        pare_string_push(&head, "GGUF\3\0\0\0", 8);
        pare_gguf_push_number(&head, w->n_entries, 8);
        pare_gguf_push_number(&head, entries.n, 8);
        pare_string_push(&head, entries.bytes.data, entries.bytes.length);
        print_tensors(&head, w);
        w->head_bytes = aligned(head.length);
        done = pare_string_check(&head, error) && pare_output_write(w->output, head.data, head.length, error) &&
               write_padding(w, head.length, error);
    }
    pare_string_free(&head);
    pare_gguf_entries_free(&entries);
    return done;
}

/* ---- stream ---- */

/* Each thread makes its share of the panel's rows; what a row becomes does not depend on who makes it. */
static void fill_panel(writer *w, const entry *e, uint32_t first, uint32_t n) {
    const pare_view *view = &e->view;
    const pare_dtype_traits *type = pare_dtype_info(e->dtype);
    size_t row_bytes = view->n_columns / type->block * type->bytes;
    int n_threads = w->n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n > 64)
    for (int t = 0; t < n_threads; t++) {
        uint32_t from = (uint32_t)((uint64_t)n * (unsigned)t / (unsigned)n_threads),
                 to = (uint32_t)((uint64_t)n * (unsigned)(t + 1) / (unsigned)n_threads);
        uint8_t *out = w->panel + from * row_bytes;
        float *values = w->values + (size_t)from * view->n_columns;
        size_t n_weights = (size_t)(to - from) * view->n_columns;
        if (keeps_bits(e)) {
            for (uint32_t i = from; i < to; i++, out += row_bytes)
                memcpy(out, pare_tensor_row(view->tensor, view->rows ? view->rows[first + i] : first + i), row_bytes);
            continue;
        }
        pare_view_read(values, view, first + from, to - from, w->scratch + (size_t)t * w->scratch_each);
        if (type->quantised)
            pare_dtype_quantize(out, e->dtype, values, n_weights);
        else
            pare_dtype_pack(out, e->dtype, values, n_weights);
    }
}

static bool fail_weight(const writer *w, const entry *e, uint64_t weight, bool overflow, pare_error *error) {
    uint32_t columns = e->view.n_columns;
    return pare_fail(error, PARE_ERROR_NUMERIC, "%s: tensor %s: the weight written at [%llu, %llu] %s%s", w->checkpoint->path,
                     e->name ? e->name : e->spelled, (unsigned long long)(weight / columns), (unsigned long long)(weight % columns),
                     overflow ? "is too large for " : "is NaN or infinite", overflow ? pare_dtype_info(e->dtype)->name : "");
}

/* The panel's f32 values are looked at before its bytes: quantising hides a NaN. */
static bool check_panel(const writer *w, const entry *e, uint32_t first, size_t n_weights, pare_error *error) {
    size_t block = pare_dtype_info(e->dtype)->block, n_blocks = n_weights / block;
    size_t bad = keeps_bits(e) ? n_weights : pare_bytes_first_bad(PARE_DTYPE_F32, (const uint8_t *)w->values, n_weights);
    uint64_t before = (uint64_t)first * e->view.n_columns;
    if (bad < n_weights)
        return fail_weight(w, e, before + bad, false, error);
    bad = pare_bytes_first_bad(e->dtype, w->panel, n_blocks);
    return bad == n_blocks || fail_weight(w, e, before + bad * block, !keeps_bits(e), error);
}

static bool stream_panel(writer *w, const entry *e, uint32_t first, uint32_t n, pare_error *error) {
    const pare_dtype_traits *type = pare_dtype_info(e->dtype);
    size_t n_weights = (size_t)n * e->view.n_columns, n_bytes = n_weights / type->block * type->bytes;
    fill_panel(w, e, first, n);
    if (!check_panel(w, e, first, n_weights, error) || !pare_context_check(w->context, error) ||
        !pare_output_write(w->output, w->panel, n_bytes, error))
        return false;
    w->done += n_bytes;
    pare_context_progress(w->context, "write the GGUF file", (double)w->done, (double)w->total);
    pare_cut_drop_rows(&e->view, first, n, w->cut, w->checkpoint);
    return true;
}

static bool stream_panels(writer *w, const entry *e, pare_error *error) {
    uint32_t left = e->view.n_rows, most = (uint32_t)(w->panel_weights / e->view.n_columns);
    for (uint32_t first = 0, n; left; first += n, left -= n) {
        n = left < most ? left : most;
        if (!stream_panel(w, e, first, n, error))
            return false;
    }
    w->done += aligned(e->n_bytes) - e->n_bytes;
    return write_padding(w, e->n_bytes, error);
}

static bool stream_tensor(writer *w, const entry *e, pare_error *error) {
    if (!e->product)
        return stream_panels(w, e, error);
    float *values = pare_factors_make(&e->factors, w->checkpoint, w->cut, NULL, w->n_threads, error);
    e->product->data = (const uint8_t *)values;
    bool done = values && stream_panels(w, e, error);
    e->product->data = NULL;
    pare_free(values);
    return done;
}

/* ---- verify ---- */

static bool verify(const writer *w, const char *path, pare_error *error) {
    pare_checkpoint *back = pare_checkpoint_open(path, error);
    if (!back)
        return false;
    bool done = true;
    for (size_t i = 0; done && i < w->n_entries; i++) {
        const entry *e = &w->entries[i];
        const pare_tensor *tensor = e->name ? pare_checkpoint_find(back, e->name) : back->config.rope.factors;
        if (!tensor || tensor->dtype != e->dtype || tensor->n_dims != e->n_dims ||
            memcmp(tensor->dims, e->dims, e->n_dims * sizeof *e->dims) != 0)
            done = pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s did not come back as it was written", path, e->spelled);
    }
    pare_checkpoint_close(back);
    return done;
}

static bool write_file(writer *w, const char *path, bool replace, pare_error *error) {
    const char *temporary;
    if (!(w->output = pare_output_open(path, replace, error)))
        return false;
    bool done = write_head(w, error);
    for (size_t i = 0; done && i < w->n_entries; i++)
        done = stream_tensor(w, &w->entries[i], error);
    done = done && pare_output_flush(&temporary, w->output, error) && verify(w, temporary, error);
    if (done)
        return pare_output_commit(w->output, error);
    pare_output_abandon(w->output);
    return false;
}

void pare_export_free(pare_export *result) {
    pare_string_free(&result->fallbacks);
    *result = (pare_export){0};
}

bool pare_checkpoint_export(pare_export *result, const char *path, bool replace, const pare_checkpoint *checkpoint, const pare_cut *cut,
                            pare_dtype dtype, const pare_context *context, pare_error *error) {
    if (dtype != PARE_DTYPE_COUNT && !pare_dtype_writable(dtype))
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: GGUF files are written in f32, f16, bf16, q8_0, q4_0 or q4_1", path);
    writer w = {.checkpoint = checkpoint,
                .cut = cut,
                .config = *pare_cut_config(cut, checkpoint),
                .dtype = dtype,
                .context = context,
                .n_threads = pare_context_threads(context)};
    if (!(w.arena = pare_arena_open(error)))
        return false;
    bool done = plan(&w, error) && allocate_buffers(&w, error) && write_file(&w, path, replace, error);
    w.result.bytes = w.head_bytes + w.total;
    if (done && result)
        *result = w.result;
    else
        pare_export_free(&w.result);
    pare_free(w.entries);
    pare_arena_close(w.arena);
    return done;
}
