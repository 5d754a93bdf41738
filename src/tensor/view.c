/* view: stored tensors row by row, and what a cut leaves of them. The rotary order of GGUF's llama is undone here, so that
 * nobody above knows it. */
#include <string.h>

#include "pare/tensor.h"

uint64_t pare_tensor_columns(const pare_tensor *tensor) {
    return tensor->n_dims >= 2 ? tensor->dims[tensor->n_dims - 1] : 1;
}

uint64_t pare_tensor_elements(const pare_tensor *tensor) {
    uint64_t n = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        n *= tensor->dims[i];
    return n;
}

uint64_t pare_tensor_rows(const pare_tensor *tensor) {
    uint64_t columns = pare_tensor_columns(tensor);
    return columns ? pare_tensor_elements(tensor) / columns : 0;
}

uint64_t pare_tensor_row_bytes(const pare_tensor *tensor) {
    uint64_t bytes = 0;
    if (!pare_dtype_row_bytes(&bytes, tensor->dtype, pare_tensor_columns(tensor)))
        return 0; /* readers have refused such a tensor */
    return bytes;
}

/* Logical (half-split) row -> stored row. */
static uint64_t stored_row(const pare_tensor *tensor, uint64_t row) {
    uint64_t head = tensor->rotary_pairs;
    if (head == 0)
        return row;
    uint64_t j = row % head;
    return row - j + (j < head / 2 ? 2 * j : 2 * (j - head / 2) + 1);
}

const uint8_t *pare_tensor_row(const pare_tensor *tensor, uint64_t row) {
    return tensor->data + stored_row(tensor, row) * pare_tensor_row_bytes(tensor);
}

pare_view pare_view_all(const pare_tensor *tensor) {
    return (pare_view){.tensor = tensor, .n_rows = (uint32_t)pare_tensor_rows(tensor), .n_columns = (uint32_t)pare_tensor_columns(tensor)};
}

size_t pare_view_scratch(const pare_view *view) {
    return view->columns ? pare_tensor_columns(view->tensor) : 0;
}

/* out += scale B A, rows [first, first + n) */
static void merge(float *out, const pare_view *view, uint32_t first, uint32_t n) {
    const pare_adapter *adapter = view->merged;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < adapter->rank; k++)
            pare_kernels_best()->add_scaled(out + (size_t)i * view->n_columns, adapter->a + (size_t)k * view->n_columns,
                                            adapter->scale * adapter->b[(size_t)(first + i) * adapter->rank + k], view->n_columns);
}

static void read_stored(float *out, const pare_view *view, uint32_t first, uint32_t n, float *scratch) {
    const pare_tensor *tensor = view->tensor;
    void (*dequantize)(float *, const void *, size_t) = pare_kernels_best()->dequantize[tensor->dtype];
    size_t width = pare_tensor_columns(tensor);
    if (!view->rows && !view->columns && tensor->rotary_pairs == 0) { /* one run of memory */
        dequantize(out, pare_tensor_row(tensor, first), (size_t)n * width);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *row = pare_tensor_row(tensor, view->rows ? view->rows[first + i] : first + i);
        float *to = out + (size_t)i * view->n_columns;
        if (!view->columns) {
            dequantize(to, row, width);
            continue;
        }
        dequantize(scratch, row, width);
        for (uint32_t j = 0; j < view->n_columns; j++)
            to[j] = scratch[view->columns[j]];
    }
}

void pare_view_read(float *out, const pare_view *view, uint32_t first, uint32_t n, float *scratch) {
    read_stored(out, view, first, n, scratch);
    if (view->merged)
        merge(out, view, first, n);
}

const float *pare_view_direct(const pare_view *view) {
    const pare_tensor *tensor = view->tensor;
    bool direct = tensor->dtype == PARE_DTYPE_F32 && !view->rows && !view->columns && !view->merged && tensor->rotary_pairs == 0 &&
                  (uintptr_t)tensor->data % sizeof(float) == 0;
    return direct ? (const float *)(const void *)tensor->data : NULL;
}
