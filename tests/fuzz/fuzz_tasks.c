/* fuzz_tasks: input = a byte that chooses, then bytes. Below 'a': a task file. 'a' and on: documents of a shipped task, or of one with rows
 * of text. What is read must have choices, an answer among them, and texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pare/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rows[] = "task: rows\nfiles:\n  - path: rows.txt\n    lines: [q, a, c]\ndoc_to_text: \"{{q | wikihow}}\"\n"
                           "doc_to_target: \"{{a | trim}}\"\ndoc_to_choice: [\"{{c | capitalize}}\", y]\nmetrics: [acc]\n";

static const char *folder(void) {
    static char path[] = "/tmp/pare-fuzz-XXXXXX";
    static bool made;
    if (!made && !mkdtemp(path))
        abort();
    made = true;
    return path;
}

static void write_file(char *path, size_t n, const char *name, const void *bytes, size_t size) {
    snprintf(path, n, "%s/%s", folder(), name);
    if (!pare_file_write(path, bytes, size, true, NULL))
        abort();
}

static void check(const pare_items *items) {
    for (size_t i = 0; i < items->n; i++) {
        const pare_item *item = &items->items[i];
        if (item->n == 0 || item->gold >= item->n || (items->n_subsets && item->subset >= items->n_subsets))
            abort();
        for (uint32_t k = 0; k < item->n; k++)
            if (!item->requests[k].context.bytes || !item->requests[k].continuation.bytes || !item->requests[k].choice.bytes)
                abort();
    }
}

static void read_items(const pare_task *task, const void *bytes, size_t n) {
    char path[256];
    pare_items items;
    pare_error error = {0};
    write_file(path, sizeof path, task->files[0], bytes, n);
    bool done = pare_items_open(&items, task, folder(), &(pare_items_options){.limit = 50}, &error);
    if (done == (error.code != PARE_OK))
        abort();
    if (done) {
        check(&items);
        pare_items_close(&items);
    }
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[256];
    pare_error error = {0};
    size_t n = 0;
    if (size == 0)
        return 0;
    while (pare_task_names[n])
        n++;
    unsigned which = data[0] >= 'a' ? (data[0] - 'a') % (unsigned)(n + 1) : 0;
    bool own = data[0] < 'a' || which == n;
    if (own)
        write_file(path, sizeof path, "task.yaml", data[0] < 'a' ? (const char *)data + 1 : rows,
                   data[0] < 'a' ? size - 1 : sizeof rows - 1);
    pare_task *task = pare_task_open(own ? path : pare_task_names[which], NULL, &error);
    if (!task == (error.code == PARE_OK))
        abort();
    if (task && data[0] >= 'a')
        read_items(task, data + 1, size - 1);
    pare_task_close(task);
    if (own)
        unlink(path);
    return 0;
}
