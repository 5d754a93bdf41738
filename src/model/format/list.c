/* list: the tensors that a reader found, and the arithmetic of their shapes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"

pare_file_tensor *pare_tensor_list_push(pare_tensor_list *list, pare_error *error) {
    void *items = list->items;
    if (!pare_grow(&items, &list->capacity, list->n + 1, sizeof *list->items, error))
        return NULL;
    list->items = items;
    return &list->items[list->n++];
}

void pare_tensor_list_free(pare_tensor_list *list) {
    pare_free(list->items);
    *list = (pare_tensor_list){0};
}

int pare_file_tensor_order(const void *a, const void *b) {
    const pare_file_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->tensor.n_bytes < y->tensor.n_bytes ? -1 : x->tensor.n_bytes > y->tensor.n_bytes;
}

static int by_name(const void *a, const void *b) {
    const pare_file_tensor *x = a, *y = b;
    return strcmp(x->tensor.name, y->tensor.name);
}

bool pare_tensor_list_sort(pare_tensor_list *list, pare_error *error) {
    if (list->n)
        qsort(list->items, list->n, sizeof *list->items, by_name);
    for (size_t i = 1; i < list->n; i++) {
        const pare_tensor *a = &list->items[i - 1].tensor, *b = &list->items[i].tensor;
        if (strcmp(a->name, b->name) == 0)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s appears twice (the other is in %s)", b->source, b->name, a->source);
    }
    return true;
}

pare_file_tensor *pare_tensor_list_find(const pare_tensor_list *list, const char *name) {
    pare_file_tensor wanted = {.tensor = {.name = name}};
    return list->n ? bsearch(&wanted, list->items, list->n, sizeof *list->items, by_name) : NULL;
}

const char *pare_shape_print(char text[PARE_SHAPE_TEXT], uint32_t n_dims, const uint64_t *dims) {
    size_t at = 1;
    text[0] = '[';
    for (uint32_t i = 0; i < n_dims; i++)
        at += (size_t)snprintf(text + at, PARE_SHAPE_TEXT - at, "%s%llu", i ? ", " : "", (unsigned long long)dims[i]);
    text[at] = ']';
    text[at + 1] = '\0';
    return text;
}

bool pare_shape_bytes(uint64_t *bytes, pare_dtype dtype, uint32_t n_dims, const uint64_t *dims) {
    uint64_t row;
    if (!pare_dtype_row_bytes(&row, dtype, n_dims ? dims[n_dims - 1] : 1))
        return false;
    for (uint32_t i = 0; i + 1 < n_dims; i++)
        if (__builtin_mul_overflow(row, dims[i], &row))
            return false;
    *bytes = row;
    return true;
}
