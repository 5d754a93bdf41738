/* tie: a head that is the embedding. Exporters write a tied model's one matrix twice, and quantise each copy in its own type: what is left
 * between the two is then no more than what quantising does to a matrix. */
#include <math.h>
#include <string.h>

#include "format/format.h"

enum { ROWS_AT_ONCE = 64, SAMPLE = 4 }; /* SAMPLE pieces of so many rows are looked at first */

static const char head_name[] = "lm_head.weight", embedding_name[] = "model.embed_tokens.weight";

/* Relative error (Frobenius) that storing a matrix in a type costs: twice what it does to normal weights, whose largest of a block are
 * smaller than those of embeddings. */
static double storing_costs(pare_dtype dtype) {
    static const double costs[PARE_DTYPE_COUNT] = {
        [PARE_DTYPE_F32] = 1e-6,  [PARE_DTYPE_F16] = 1e-3,  [PARE_DTYPE_BF16] = 4e-3, [PARE_DTYPE_Q8_0] = 0.012,
        [PARE_DTYPE_Q4_0] = 0.2,  [PARE_DTYPE_Q4_1] = 0.16, [PARE_DTYPE_Q5_0] = 0.1,  [PARE_DTYPE_Q5_1] = 0.08,
        [PARE_DTYPE_Q4_K] = 0.16, [PARE_DTYPE_Q5_K] = 0.08, [PARE_DTYPE_Q6_K] = 0.05,
    };
    return costs[dtype];
}

typedef struct {
    pare_view head, embedding;
    float *a, *b;
    double difference, size; /* sums of squares */
} comparison;

static void add_rows(comparison *c, uint32_t first) {
    uint32_t n = c->head.n_rows - first < ROWS_AT_ONCE ? c->head.n_rows - first : ROWS_AT_ONCE;
    size_t values = (size_t)n * c->head.n_columns;
    pare_view_read(c->a, &c->head, first, n, NULL);
    pare_view_read(c->b, &c->embedding, first, n, NULL);
    for (size_t i = 0; i < values; i++)
        c->a[i] -= c->b[i];
    c->difference += pare_kernels_best()->sum_squares(c->a, values);
    c->size += pare_kernels_best()->sum_squares(c->b, values);
}

/* Of pieces of rows, `step` pieces apart. */
static double distance(comparison *c, uint32_t step) {
    c->difference = c->size = 0;
    for (uint64_t first = 0; first < c->head.n_rows; first += (uint64_t)step * ROWS_AT_ONCE)
        add_rows(c, (uint32_t)first);
    return c->size > 0 ? sqrt(c->difference / c->size) : (double)INFINITY;
}

bool pare_head_compare(pare_head_likeness *likeness, const pare_checkpoint *checkpoint, pare_error *error) {
    *likeness = (pare_head_likeness){.distance = (double)NAN};
    const pare_tensor *head = pare_checkpoint_find(checkpoint, head_name), *embedding = pare_checkpoint_find(checkpoint, embedding_name);
    if (checkpoint->config.tied || !head || !embedding)
        return true;
    comparison c = {.head = pare_view_all(head), .embedding = pare_view_all(embedding)};
    float *rows = pare_allocate(2 * (size_t)ROWS_AT_ONCE * c.head.n_columns, sizeof *rows, error);
    if (!rows)
        return false;
    c.a = rows;
    c.b = rows + (size_t)ROWS_AT_ONCE * c.head.n_columns;
    double most = storing_costs(head->dtype) + storing_costs(embedding->dtype);
    uint32_t pieces = (c.head.n_rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, step = pieces / SAMPLE > 0 ? pieces / SAMPLE : 1;
    likeness->distance = distance(&c, step);
    if (likeness->distance <= 2 * most) /* a sample may lie by chance */
        likeness->distance = distance(&c, 1);
    likeness->same = likeness->distance <= most;
    likeness->parameters = pare_tensor_elements(head);
    pare_free(rows);
    pare_checkpoint_drop_view(checkpoint, &c.head);
    pare_checkpoint_drop_view(checkpoint, &c.embedding);
    return true;
}

static double bits(const pare_tensor *tensor) {
    return (double)tensor->n_bytes / (double)pare_tensor_elements(tensor);
}

bool pare_checkpoint_tie(pare_checkpoint *checkpoint, pare_error *error) {
    pare_head_likeness likeness;
    if (checkpoint->config.tied)
        return true;
    if (!pare_head_compare(&likeness, checkpoint, error))
        return false;
    if (!likeness.same)
        return pare_fail(
            error, PARE_ERROR_RANGE,
            "%s: the head is %.3g %% away from the embedding, which quantising does not account for: it is a matrix of its own "
            "and cannot be tied",
            checkpoint->path, 100 * likeness.distance);
    pare_tensor *tensors = PARE_PUSH(checkpoint->inner->arena, pare_tensor, checkpoint->n_tensors, error);
    const pare_tensor *head = pare_checkpoint_find(checkpoint, head_name);
    size_t n = 0;
    for (size_t i = 0; tensors && i < checkpoint->n_tensors; i++) {
        const pare_tensor *t = &checkpoint->tensors[i];
        if (t == head)
            continue;
        tensors[n] = *t;
        if (strcmp(t->name, embedding_name) == 0 && bits(head) > bits(t)) { /* the finer copy is the better embedding */
            tensors[n] = *head;
            tensors[n].name = t->name;
        }
        n++;
    }
    if (!tensors)
        return false;
    checkpoint->tensors = tensors;
    checkpoint->n_tensors = n;
    checkpoint->config.tied = true;
    return true;
}
