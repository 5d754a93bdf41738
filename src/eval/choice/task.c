/* task: a task file -> pare_task. Every key, metric, filter and group is checked here, with file and line. */
#include <stdio.h>
#include <string.h>

#include "pare/yaml.h"
#include "task_impl.h"

typedef struct {
    pare_task *task;
    struct pare_task_inner *inner;
    const pare_yaml *root;
    pare_arena *arena;
    pare_error *error;
} reader;

#define N(array) (sizeof(array) / sizeof *(array))

/* ---- YAML's pieces ---- */

static bool refuse(const reader *r, size_t line, const char *format, ...) PARE_PRINTF(3, 4);
static bool refuse(const reader *r, size_t line, const char *format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return pare_fail(r->error, PARE_ERROR_FORMAT, "%s:%zu: %s", r->task->path, line, text);
}

static bool check_keys(const reader *r, const pare_yaml *map, const char *const *keys, size_t n) {
    if (map->kind != PARE_YAML_MAP)
        return refuse(r, map->line, "%s are needed here", "keys with values");
    for (const pare_yaml *child = map->first; child; child = child->next) {
        bool known = false;
        for (size_t i = 0; i < n && !known; i++)
            known = strcmp(child->key, keys[i]) == 0;
        if (known)
            continue;
        char shown[PARE_YAML_SHOW_BYTES];
        const char *near = pare_nearest(child->key, keys, n);
        return pare_fail(r->error, PARE_ERROR_FORMAT, "%s:%zu: unknown key \"%s\"%s%s%s", r->task->path, child->line,
                         pare_yaml_show(shown, child->key), near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    return true;
}

/* A text under a key, or NULL when there is none. False: something else is there. */
static bool text_of(const char **text, const reader *r, const pare_yaml *map, const char *key) {
    const pare_yaml *found = pare_yaml_find(map, key);
    if (found && found->kind != PARE_YAML_SCALAR)
        return refuse(r, found->line, "\"%s\" needs a text", key);
    if (found)
        *text = found->text;
    return true;
}

static bool need(const reader *r, const pare_yaml *map, const char *key) {
    return pare_yaml_find(map, key) || refuse(r, map->line, "the key \"%s\" is missing", key);
}

/* The texts of a list; a single text is a list of one. */
static const char *const *texts_of(size_t *n, const reader *r, const pare_yaml *list) {
    const pare_yaml *first = list->kind == PARE_YAML_LIST ? list->first : list;
    const char **texts = PARE_PUSH(r->arena, const char *, list->n + 1, r->error);
    *n = 0;
    for (const pare_yaml *child = first; texts && child; child = child == list ? NULL : child->next) {
        if (child->kind != PARE_YAML_SCALAR) {
            refuse(r, child->line, "%s is needed here", "a text, or a list of texts,");
            return NULL;
        }
        texts[(*n)++] = child->text;
    }
    return texts;
}

static bool template_of(const pare_template **template, const reader *r, const pare_yaml *map, const char *key) {
    const pare_yaml *found = pare_yaml_find(map, key);
    if (!found)
        return true;
    if (found->kind != PARE_YAML_SCALAR)
        return refuse(r, found->line, "\"%s\" needs a text", key);
    return (*template = pare_template_parse(found->text, r->task->path, found->line, r->arena, r->error)) != NULL;
}

/* ---- where documents lie ---- */

static bool read_fields(const reader *r, task_file *file, const pare_yaml *map) {
    if (!map)
        return true;
    if (map->kind != PARE_YAML_MAP)
        return refuse(r, map->line, "\"%s\" needs names with templates", "fields");
    task_field *fields = PARE_PUSH(r->arena, task_field, map->n + 1, r->error);
    for (const pare_yaml *child = map->first; fields && child; child = child->next) {
        fields[file->n_fields].name = child->key;
        if (!template_of(&fields[file->n_fields++].template, r, map, child->key))
            return false;
    }
    file->fields = fields;
    return fields != NULL;
}

static bool read_file(const reader *r, task_file *file, const pare_yaml *map) {
    static const char *const keys[] = {"path", "fewshot", "labels", "lines", "fields"};
    if (!check_keys(r, map, keys, N(keys)) || !need(r, map, "path"))
        return false;
    const pare_yaml *rows = pare_yaml_find(map, "lines");
    file->line = map->line;
    return text_of(&file->path, r, map, "path") && text_of(&file->fewshot, r, map, "fewshot") && text_of(&file->labels, r, map, "labels") &&
           (!rows || (file->rows = texts_of(&file->n_rows, r, rows))) &&
           (!rows || file->n_rows > 0 || refuse(r, rows->line, "\"%s\" is empty", "lines")) &&
           read_fields(r, file, pare_yaml_find(map, "fields"));
}

static bool read_files(const reader *r) {
    const pare_yaml *list = pare_yaml_find(r->root, "files");
    if (list->kind != PARE_YAML_LIST || list->n == 0)
        return refuse(r, list->line, "\"%s\" needs a list of files, each with a path", "files");
    task_file *files = PARE_PUSH(r->arena, task_file, list->n, r->error);
    const char **names = PARE_PUSH(r->arena, const char *, list->n, r->error);
    if (!files || !names)
        return false;
    for (const pare_yaml *child = list->first; child; child = child->next) {
        task_file *file = &files[r->inner->n_files];
        if (!read_file(r, file, child))
            return false;
        names[r->inner->n_files++] = file->path;
    }
    r->inner->files = files;
    r->task->files = names;
    r->task->n_files = r->inner->n_files;
    return true;
}

/* ---- how documents become requests ---- */

static bool read_choices(const reader *r) {
    const pare_yaml *found = pare_yaml_find(r->root, "doc_to_choice");
    size_t n;
    const char *const *texts = texts_of(&n, r, found);
    const pare_template **templates = texts ? PARE_PUSH(r->arena, const pare_template *, n + 1, r->error) : NULL;
    if (!templates)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(templates[i] = pare_template_parse(texts[i], r->task->path, found->line, r->arena, r->error)))
            return false;
    r->inner->choices = templates;
    r->inner->n_choices = n;
    if (found->kind == PARE_YAML_LIST && n < 2)
        return refuse(r, found->line, "\"%s\" needs two choices or more", "doc_to_choice");
    return true;
}

static bool read_kind(const reader *r) {
    struct pare_task_inner *inner = r->inner;
    const char *type = "multiple_choice", *are = "continuations";
    if (!text_of(&type, r, r->root, "output_type") || !text_of(&are, r, r->root, "choices_are"))
        return false;
    inner->likelihood = strcmp(type, "loglikelihood") == 0;
    inner->choices_are_contexts = strcmp(are, "contexts") == 0;
    if (!inner->likelihood && strcmp(type, "multiple_choice") != 0)
        return refuse(r, pare_yaml_find(r->root, "output_type")->line, "output_type \"%s\": there are multiple_choice and loglikelihood",
                      type);
    if (!inner->choices_are_contexts && strcmp(are, "continuations") != 0)
        return refuse(r, pare_yaml_find(r->root, "choices_are")->line, "choices_are \"%s\": there are continuations and contexts", are);
    return true;
}

/* Which keys each kind of task needs and which say nothing in it. */
static bool check_kind(const reader *r) {
    const struct {
        const char *key;
        bool needed, taken;
    } keys[] = {
        {"doc_to_target", true, true},
        {"doc_to_text", !r->inner->choices_are_contexts, !r->inner->choices_are_contexts},
        {"doc_to_choice", !r->inner->likelihood, !r->inner->likelihood},
        {"doc_to_continuation", r->inner->choices_are_contexts, r->inner->choices_are_contexts},
        {"choices_are", false, !r->inner->likelihood},
    };
    for (size_t i = 0; i < N(keys); i++) {
        const pare_yaml *found = pare_yaml_find(r->root, keys[i].key);
        if (!found && keys[i].needed)
            return need(r, r->root, keys[i].key);
        if (found && !keys[i].taken)
            return refuse(r, found->line, "\"%s\" has no meaning in a task of this kind", keys[i].key);
    }
    return true;
}

static bool read_prompt(const reader *r) {
    struct pare_task_inner *inner = r->inner;
    if (!read_kind(r) || !check_kind(r))
        return false;
    inner->delimiter = inner->likelihood ? "" : " ";
    inner->fewshot_delimiter = "\n\n";
    return template_of(&inner->description, r, r->root, "description") && template_of(&inner->text, r, r->root, "doc_to_text") &&
           template_of(&inner->target, r, r->root, "doc_to_target") &&
           template_of(&inner->continuation, r, r->root, "doc_to_continuation") && template_of(&inner->subset, r, r->root, "subset") &&
           (inner->likelihood || read_choices(r)) && text_of(&inner->delimiter, r, r->root, "target_delimiter") &&
           text_of(&inner->fewshot_delimiter, r, r->root, "fewshot_delimiter");
}

/* ---- metrics and groups ---- */

static const struct {
    const char *name;
    unsigned bit;
    bool choices, likelihood; /* the kinds of task that have it */
} metrics[] = {
    {"acc", PARE_METRIC_ACC, true, true},
    {"acc_norm", PARE_METRIC_ACC_NORM, true, false},
    {"acc_bytes", PARE_METRIC_ACC_BYTES, true, false},
    {"perplexity", PARE_METRIC_PERPLEXITY, false, true},
};

static bool metric_of(unsigned *bit, const reader *r, const char *name, size_t line) {
    for (size_t i = 0; i < N(metrics); i++)
        if (strcmp(metrics[i].name, name) == 0 && (r->inner->likelihood ? metrics[i].likelihood : metrics[i].choices)) {
            *bit = metrics[i].bit;
            return true;
        }
    return refuse(r, line,
                  r->inner->likelihood ? "metric \"%s\": of a loglikelihood there are acc and perplexity"
                                       : "metric \"%s\": of choices there are acc, acc_norm and acc_bytes",
                  name);
}

static bool read_metrics(const reader *r) {
    const pare_yaml *found = pare_yaml_find(r->root, "metrics");
    const char *reported = "acc";
    size_t n;
    unsigned bit = 0;
    const char *const *names = texts_of(&n, r, found);
    for (size_t i = 0; names && i < n; i++) {
        if (!metric_of(&bit, r, names[i], found->line))
            return false;
        r->task->metrics |= bit;
    }
    if (!names || !text_of(&reported, r, r->root, "reported"))
        return false;
    size_t line = pare_yaml_find(r->root, "reported") ? pare_yaml_find(r->root, "reported")->line : found->line;
    if (!metric_of(&r->task->reported, r, reported, line))
        return false;
    return (r->task->metrics & r->task->reported & ~(unsigned)PARE_METRIC_PERPLEXITY) ||
           refuse(r, line, "\"%s\" is not among the task's metrics, or is no accuracy", reported);
}

static bool read_groups(const reader *r) {
    const pare_yaml *map = pare_yaml_find(r->root, "groups");
    if (!map)
        return true;
    if (map->kind != PARE_YAML_MAP || !r->inner->subset)
        return refuse(r, map->line, "\"%s\" needs names, each with a list of subsets, and the key \"subset\"", "groups");
    task_group *groups = PARE_PUSH(r->arena, task_group, map->n + 1, r->error);
    for (const pare_yaml *child = map->first; groups && child; child = child->next) {
        task_group *group = &groups[r->inner->n_groups++];
        group->name = child->key;
        if (!(group->subsets = texts_of(&group->n_subsets, r, child)))
            return false;
    }
    r->inner->groups = groups;
    return groups != NULL;
}

/* ---- the fields that a task reads ---- */

typedef struct {
    const char **names;
    size_t n, most;
    const task_file *made; /* whose `fields` are not read but made; NULL: count all */
} field_list;

static void add_field(void *user, const char *name) {
    field_list *list = user;
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->names[i], name) == 0)
            return;
    size_t n = strcspn(name, ".[");
    for (size_t i = 0; list->made && i < list->made->n_fields; i++)
        if (strncmp(list->made->fields[i].name, name, n) == 0 && list->made->fields[i].name[n] == '\0')
            return;
    if (list->n < list->most)
        list->names[list->n++] = name;
}

static bool list_fields(const reader *r) {
    enum { FIELDS_MAX = 64 };
    const struct pare_task_inner *inner = r->inner;
    field_list list = {PARE_PUSH(r->arena, const char *, FIELDS_MAX, r->error), 0, FIELDS_MAX, NULL};
    if (!list.names)
        return false;
    for (size_t i = 0; i < inner->files[0].n_fields; i++)
        pare_template_fields(inner->files[0].fields[i].template, add_field, &list);
    list.made = &inner->files[0];
    const pare_template *const all[] = {inner->description, inner->text, inner->continuation, inner->target, inner->subset};
    for (size_t i = 0; i < N(all); i++)
        if (all[i])
            pare_template_fields(all[i], add_field, &list);
    for (size_t i = 0; i < inner->n_choices; i++)
        pare_template_fields(inner->choices[i], add_field, &list);
    r->task->fields = list.names;
    r->task->n_fields = list.n;
    return true;
}

/* ---- opening ---- */

/* Names stand in file names, lists and JSON. */
static bool check_name(const reader *r) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t n = strlen(r->task->name);
    return (n > 0 && n < 64 && strspn(r->task->name, letters) == n) ||
           refuse(r, pare_yaml_find(r->root, "task")->line, "a task's name has 1 to 63 of the characters %s", "A-Z a-z 0-9 _ - .");
}

static bool read_task(const reader *r) {
    static const char *const keys[] = {"task",
                                       "about",
                                       "data",
                                       "files",
                                       "output_type",
                                       "choices_are",
                                       "doc_to_text",
                                       "doc_to_choice",
                                       "doc_to_target",
                                       "subset",
                                       "doc_to_continuation",
                                       "description",
                                       "groups",
                                       "target_delimiter",
                                       "metrics",
                                       "reported",
                                       "fewshot_delimiter"};
    static const char *const needed[] = {"task", "files", "metrics"};
    if (!check_keys(r, r->root, keys, N(keys)))
        return false;
    for (size_t i = 0; i < N(needed); i++)
        if (!need(r, r->root, needed[i]))
            return false;
    r->task->about = "";
    return text_of(&r->task->name, r, r->root, "task") && check_name(r) && text_of(&r->task->about, r, r->root, "about") &&
           text_of(&r->task->data, r, r->root, "data") && read_files(r) && read_prompt(r) && read_metrics(r) && read_groups(r) &&
           list_fields(r);
}

static pare_task *open_bytes(const char *bytes, size_t n, const char *path, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_task *task = PARE_PUSH(arena, pare_task, 1, error);
    struct pare_task_inner *inner = task ? PARE_PUSH(arena, struct pare_task_inner, 1, error) : NULL;
    char *copy = inner ? pare_arena_copy(arena, path, strlen(path), error) : NULL;
    bool done = false;
    if (copy) {
        inner->arena = arena;
        task->inner = inner;
        task->path = copy;
        task->text = pare_arena_copy(arena, bytes, n, error);
        reader r = {task, inner, pare_yaml_read(bytes, n, copy, arena, error), arena, error};
        done = task->text && r.root && pare_sha256_bytes(&task->sha256, bytes, n, error) && read_task(&r);
    }
    if (!done)
        pare_arena_close(arena);
    return done ? task : NULL;
}

static pare_task *open_path(const char *path, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return NULL;
    pare_task *task = open_bytes((const char *)map.data, map.size, path, error);
    pare_map_close(&map);
    return task;
}

static pare_task *open_shipped(size_t i, pare_error *error) {
    char path[128];
    task_shipped file = pare_task_shipped(i);
    snprintf(path, sizeof path, "%s.yaml", pare_task_names[i]);
    return open_bytes(file.bytes, file.n, path, error);
}

static bool is_path(const char *name) {
    size_t n = strlen(name);
    return strchr(name, '/') || (n > 5 && strcmp(name + n - 5, ".yaml") == 0) || (n > 4 && strcmp(name + n - 4, ".yml") == 0);
}

pare_task *pare_task_open(const char *name, const char *folder, pare_error *error) {
    char path[4096];
    size_t n = 0;
    if (is_path(name))
        return open_path(name, error);
    for (; pare_task_names[n]; n++)
        if (strcmp(name, pare_task_names[n]) == 0)
            return open_shipped(n, error);
    if (folder && *name && snprintf(path, sizeof path, "%s/%s.yaml", folder, name) < (int)sizeof path && pare_path_exists(path))
        return open_path(path, error);
    const char *near = pare_nearest(name, pare_task_names, n);
    pare_fail(error, PARE_ERROR_USAGE, "unknown task \"%s\"%s%s%s (pare tasks lists them; a file of your own is given by its path)", name,
              near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    return NULL;
}

void pare_task_close(pare_task *task) {
    if (task)
        pare_arena_close(task->inner->arena);
}

void pare_task_print_filters(pare_string *out) {
    for (const pare_filter *filter = pare_filters; filter->name; filter++)
        pare_string_print(out, "  %-12s %s\n", filter->name, filter->about);
}
