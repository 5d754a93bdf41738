/* Any bytes as a GGUF file: refused, or metadata, configuration, names and tokenizer that can all be walked. */
#include <stdlib.h>

#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void use(const pare_gguf *gguf, pare_tensor_list *list, const uint8_t *bytes, size_t n, pare_arena *arena) {
    pare_error error = {0};
    pare_config config;
    for (size_t i = 0; i < list->n; i++) {
        const pare_tensor *t = &list->items[i].tensor;
        if (t->data < bytes || t->n_bytes > (size_t)(bytes + n - t->data))
            abort();
    }
    if (pare_tensor_list_sort(list, &error) && pare_gguf_config(&config, gguf, list, &error) &&
        pare_gguf_rename(list, &config, gguf, arena, &error) && !pare_tensor_list_sort(list, &error) && error.code == PARE_OK)
        abort();
    pare_tokenizer_close(pare_gguf_tokenizer(gguf, arena, &error));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    pare_error error = {0};
    pare_arena *arena = pare_arena_open(&error);
    pare_map map = {bytes, n};
    pare_tensor_list list = {0};
    pare_gguf gguf;
    if (arena && pare_gguf_read(&gguf, &list, &map, "fuzz.gguf", arena, &error))
        use(&gguf, &list, bytes, n, arena);
    pare_tensor_list_free(&list);
    pare_arena_close(arena);
    return 0;
}
