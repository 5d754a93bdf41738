/* Any bytes as a safetensors file: refused, or tensors that lie inside of it. */
#include <stdlib.h>

#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    pare_error error = {0};
    pare_arena *arena = pare_arena_open(&error);
    pare_map map = {bytes, n};
    pare_tensor_list list = {0};
    if (arena && pare_safetensors_read(&list, &map, "fuzz.safetensors", arena, &error)) {
        for (size_t i = 0; i < list.n; i++) {
            const pare_tensor *t = &list.items[i].tensor;
            if (t->data < bytes || t->n_bytes > (size_t)(bytes + n - t->data))
                abort();
        }
        if (pare_tensor_list_sort(&list, &error) && !pare_tensor_list_find(&list, list.items[0].tensor.name))
            abort();
    }
    pare_tensor_list_free(&list);
    pare_arena_close(arena);
    return 0;
}
