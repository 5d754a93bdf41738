/* state: scores of items in a file of JSON lines, appended as they come. A line that was cut off by the end of a process is dropped.
 *
 *   {"pare": "evaluation state", "binding": "…"}
 *   {"task": "piqa", "sha256": "…"}                                          once for each task, before its items
 *   {"task": "piqa", "index": 3, "loglikelihoods": […], "is_greedy": […]}
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "state.h"

static const char kind[] = "evaluation state";

struct pare_choice_state {
    int fd;
    size_t resumed;
    pare_arena *arena;
    char *path;
};

static bool fail_system(const pare_choice_state *state, const char *what, pare_error *error) {
    return pare_fail(error, PARE_ERROR_IO, "%s: %s: %s", state->path, what, strerror(errno));
}

static bool append(const pare_choice_state *state, pare_string *line, pare_error *error) {
    bool done = pare_string_check(line, error);
    for (size_t at = 0; done && at < line->length;) {
        ssize_t n = write(state->fd, line->data + at, line->length - at);
        if (n < 0 && errno != EINTR)
            done = fail_system(state, "cannot write", error);
        at += n > 0 ? (size_t)n : 0;
    }
    pare_string_free(line);
    return done;
}

/* What an item's scores depend on besides the model: the task file, its documents, the examples. Not the limit. */
static bool task_hash(pare_sha256 *hash, const pare_items *items, pare_error *error) {
    char text[256];
    int n = snprintf(text, sizeof text, "%s %s %u", items->task->sha256.hex, items->data_sha256.hex, items->options.fewshot);
    return pare_sha256_bytes(hash, text, (size_t)n, error);
}

/* ---- reading ---- */

typedef struct {
    const pare_choice_state *state;
    const char *binding;
    pare_choice *choices;
    size_t n_choices;
    bool *known; /* by choice: the file has its line */
    size_t line, resumed;
    pare_error *error;
} reader;

static bool refuse(const reader *r, const char *problem) {
    return pare_fail(r->error, PARE_ERROR_CONFLICT, "%s: line %zu: %s; remove the file to begin anew", r->state->path, r->line, problem);
}

static bool read_head(const reader *r, const json_t *line) {
    const char *what = json_string_value(json_object_get(line, "pare")), *binding = json_string_value(json_object_get(line, "binding"));
    if (!what || !binding || strcmp(what, kind) != 0)
        return pare_fail(r->error, PARE_ERROR_CONFLICT, "%s: is no state of an evaluation; choose another name", r->state->path);
    return strcmp(binding, r->binding) == 0 ||
           pare_fail(r->error, PARE_ERROR_CONFLICT, "%s: is of another evaluation (%s; this one: %s); remove it or choose another name",
                     r->state->path, binding, r->binding);
}

static pare_choice *find_choice(const reader *r, const char *task) {
    for (size_t i = 0; task && i < r->n_choices; i++)
        if (strcmp(r->choices[i].items->task->name, task) == 0)
            return &r->choices[i];
    return NULL;
}

static bool read_task(const reader *r, const pare_choice *choice, const char *sha256) {
    pare_sha256 hash;
    if (!choice)
        return true;
    if (!task_hash(&hash, choice->items, r->error))
        return false;
    r->known[choice - r->choices] = true;
    return strcmp(hash.hex, sha256) == 0 || refuse(r, "the task, its documents or its examples are others now");
}

static size_t find_item(const pare_items *items, size_t index) {
    size_t low = 0, high = items->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (items->items[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < items->n && items->items[low].index == index ? low : SIZE_MAX;
}

/* Items beyond this run's limit are passed over. */
static bool read_item(reader *r, pare_choice *choice, const json_t *line) {
    const json_t *index = json_object_get(line, "index"), *values = json_object_get(line, "loglikelihoods"),
                 *greedy = json_object_get(line, "is_greedy");
    if (!json_is_integer(index) || !json_is_array(values) || json_array_size(values) != json_array_size(greedy))
        return refuse(r, "is damaged");
    size_t i = choice ? find_item(choice->items, (size_t)json_integer_value(index)) : SIZE_MAX;
    if (i == SIZE_MAX)
        return true;
    pare_score *scores = choice->scores + (i ? choice->ends[i - 1] : 0);
    for (size_t k = 0; k < json_array_size(values); k++)
        if (!json_is_number(json_array_get(values, k)) || !json_is_boolean(json_array_get(greedy, k)))
            return refuse(r, "is damaged");
    if (json_array_size(values) != choice->items->items[i].n || !r->known[choice - r->choices])
        return refuse(r, "is of another document");
    for (uint32_t k = 0; k < choice->items->items[i].n; k++)
        scores[k] = (pare_score){json_number_value(json_array_get(values, k)), json_is_true(json_array_get(greedy, k))};
    r->resumed += !choice->done[i];
    choice->done[i] = true;
    return true;
}

static bool read_line(reader *r, const char *text, size_t n) {
    char what[600];
    r->line++;
    snprintf(what, sizeof what, "%s: line %zu", r->state->path, r->line);
    json_t *line = pare_json_parse(text, n, what, r->error);
    if (!line)
        return false;
    pare_choice *choice = find_choice(r, json_string_value(json_object_get(line, "task")));
    const char *sha256 = json_string_value(json_object_get(line, "sha256"));
    bool done = r->line == 1 ? read_head(r, line) : sha256 ? read_task(r, choice, sha256) : read_item(r, choice, line);
    json_decref(line);
    return done;
}

/* A first line that was cut off is of pare's own, or the file is somebody's. */
static bool is_begun(const reader *r, const char *bytes, size_t n) {
    static const char head[] = "{\"pare\": \"evaluation state\"";
    size_t known = n < sizeof head - 1 ? n : sizeof head - 1;
    return memcmp(bytes, head, known) == 0 ||
           pare_fail(r->error, PARE_ERROR_CONFLICT, "%s: is no state of an evaluation; choose another name", r->state->path);
}

/* Every line that has its end; *kept: the bytes of these. */
static bool read_lines(size_t *kept, reader *r) {
    pare_map map;
    if (!pare_map_open(&map, r->state->path, r->error))
        return false;
    const char *at = (const char *)map.data, *end = at + map.size, *newline;
    bool done = map.size == 0 || is_begun(r, at, map.size);
    for (; done && at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1)
        done = read_line(r, at, (size_t)(newline - at));
    *kept = (size_t)(at - (const char *)map.data);
    pare_map_close(&map);
    return done;
}

/* ---- opening ---- */

static bool lock(pare_choice_state *state, pare_error *error) {
    state->fd = open(state->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (state->fd < 0)
        return fail_system(state, "cannot open", error);
    return flock(state->fd, LOCK_EX | LOCK_NB) == 0 ||
           pare_fail(error, PARE_ERROR_CONFLICT, "%s: another pare works with this file", state->path);
}

static bool write_heads(const reader *r, size_t kept) {
    pare_string text = {0};
    if (kept == 0)
        pare_string_print(&text, "{\"pare\": \"%s\", \"binding\": \"%s\"}\n", kind, r->binding);
    for (size_t i = 0; i < r->n_choices; i++) {
        pare_sha256 hash;
        if (r->known[i])
            continue;
        if (!task_hash(&hash, r->choices[i].items, r->error)) {
            pare_string_free(&text);
            return false;
        }
        pare_string_print(&text, "{\"task\": \"%s\", \"sha256\": \"%s\"}\n", r->choices[i].items->task->name, hash.hex);
    }
    return append(r->state, &text, r->error);
}

static bool take_over(pare_choice_state *state, const char *binding, pare_choice *choices, size_t n_choices, pare_error *error) {
    reader r = {state, binding, choices, n_choices, PARE_PUSH(state->arena, bool, n_choices + 1, error), 0, 0, error};
    size_t kept = 0;
    bool done = r.known && read_lines(&kept, &r) && (ftruncate(state->fd, (off_t)kept) == 0 || fail_system(state, "cannot cut", error)) &&
                write_heads(&r, kept);
    state->resumed = r.resumed;
    return done;
}

pare_choice_state *pare_choice_state_open(const char *path, const char *binding, pare_choice *choices, size_t n_choices,
                                          pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_choice_state *state = arena ? PARE_PUSH(arena, pare_choice_state, 1, error) : NULL;
    if (!state) {
        pare_arena_close(arena);
        return NULL;
    }
    *state = (pare_choice_state){.fd = -1, .arena = arena, .path = pare_arena_copy(arena, path, strlen(path), error)};
    if (state->path && lock(state, error) && take_over(state, binding, choices, n_choices, error))
        return state;
    pare_choice_state_close(state, false);
    return NULL;
}

size_t pare_choice_state_resumed(const pare_choice_state *state) {
    return state->resumed;
}

void pare_choice_state_close(pare_choice_state *state, bool remove_file) {
    if (!state)
        return;
    if (remove_file)
        unlink(state->path);
    if (state->fd >= 0)
        close(state->fd);
    pare_arena_close(state->arena);
}

/* ---- writing ---- */

bool pare_choice_state_add(const pare_choice_state *state, const pare_choice *choice, size_t i, pare_error *error) {
    const pare_items *items = choice->items;
    const pare_score *scores = choice->scores + (i ? choice->ends[i - 1] : 0);
    pare_string line = {0};
    pare_string_print(&line, "{\"task\": \"%s\", \"index\": %zu, \"loglikelihoods\": [", items->task->name, items->items[i].index);
    for (uint32_t k = 0; k < items->items[i].n; k++) {
        pare_string_print(&line, "%s", k ? ", " : "");
        pare_string_number(&line, scores[k].log_likelihood);
    }
    pare_string_print(&line, "], \"is_greedy\": [");
    for (uint32_t k = 0; k < items->items[i].n; k++)
        pare_string_print(&line, "%s%s", k ? ", " : "", scores[k].greedy ? "true" : "false");
    pare_string_print(&line, "]}\n");
    return append(state, &line, error);
}
