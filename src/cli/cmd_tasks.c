/* pare tasks: what pare eval --tasks knows, which fields each reads, how its documents are got, and how a task file is written. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "pare/task.h"

typedef struct {
    const char *data;
    bool yaml, filters;
} tasks_options;

static json_t *list_json(pare_json_doc *doc, const char *const *texts, size_t n) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < n; i++)
        pare_json_append(doc, list, pare_json_string(doc, texts[i]));
    return list;
}

static json_t *metrics_json(pare_json_doc *doc, const pare_task *task) {
    static const char *const names[] = {"acc", "acc_norm", "acc_bytes", "perplexity"};
    json_t *list = pare_json_array(doc);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (task->metrics & (1u << i))
            pare_json_append(doc, list, pare_json_string(doc, names[i]));
    return list;
}

static json_t *task_json(pare_json_doc *doc, const pare_task *task) {
    return pare_json_pack(doc, "{s:s, s:s, s:o, s:o, s:o, s:s*, s:s}", "name", task->name, "about", task->about, "files",
                          list_json(doc, task->files, task->n_files), "fields", list_json(doc, task->fields, task->n_fields), "metrics",
                          metrics_json(doc, task), "get", task->data, "sha256", task->sha256.hex);
}

static void print_list(const char *title, const char *const *texts, size_t n) {
    printf("  %-8s", title);
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i ? ", " : "", texts[i]);
    printf("\n");
}

static void print_task(const pare_task *task) {
    printf("%s\n  %s\n", task->name, task->about);
    print_list("files", task->files, task->n_files);
    print_list("fields", task->fields, task->n_fields);
}

/* The commands that get its documents, to be copied as they stand. */
static void print_data(const pare_task *task) {
    printf("  get     in the folder that --data will name:\n");
    for (const char *at = task->data; at && *at; at += strcspn(at, "\n"), at += *at == '\n')
        printf("%.*s\n", (int)strcspn(at, "\n"), at);
}

static bool show(pare_json_doc *doc, json_t *list, const char *name, const tasks_options *given, const common *shared, bool whole,
                 pare_error *error) {
    pare_task *task = pare_task_open(name, given->data, error);
    if (!task)
        return false;
    if (shared->json) {
        pare_json_append(doc, list, task_json(doc, task));
    } else if (given->yaml) {
        fputs(task->text, stdout);
    } else {
        print_task(task);
        if (whole)
            print_data(task);
    }
    pare_task_close(task);
    return true;
}

static bool print_filters(pare_error *error) {
    pare_string text = {0};
    pare_task_print_filters(&text);
    bool done = pare_string_check(&text, error);
    if (done)
        fputs(text.data, stdout);
    pare_string_free(&text);
    return done;
}

static bool show_all(const char *const *names, int n, const tasks_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    json_t *list = pare_json_array(&doc);
    bool done = true;
    for (int i = 0; done && i < n; i++)
        done = show(&doc, list, names[i], given, shared, true, error);
    for (size_t i = 0; done && n == 0 && pare_task_names[i]; i++)
        done = show(&doc, list, pare_task_names[i], given, shared, false, error);
    if (done && shared->json)
        done = print_json(pare_json_pack(&doc, "{s:O}", "tasks", list), &doc, error);
    else if (done && n == 0 && !given->yaml)
        printf(
            "\npare tasks NAME says how to get the documents of a task. pare tasks NAME --yaml prints its file, as a start for your own\n");
    json_decref(list);
    return done;
}

bool cmd_tasks(int argc, char **argv, pare_error *error) {
    tasks_options given = {0};
    const option options[] = {
        {"data", 'd', OPTION_STRING, "DIR", "a folder with task files of your own", &given.data},
        {"yaml", 0, OPTION_FLAG, NULL, "print the task files", &given.yaml},
        {"filters", 0, OPTION_FLAG, NULL, "list the filters that a task file may apply to a field", &given.filters},
        {0},
    };
    const command_face face = {
        .name = "tasks",
        .usage = "[NAME …]",
        .about =
            "Lists the tasks that pare eval --tasks knows. Each names the files in which it looks for its documents (in the folder that\n"
            "--data names; plain, .bz2 or .gz), and the fields that a document in the first of these files needs. With NAME, the command\n"
            "also prints how to get the documents. A task is a YAML file. Give a task of your own by its path.",
        .example = "  pare tasks\n  pare tasks piqa\n  pare tasks --filters",
        .options = options,
        .arguments_min = 0,
        .arguments_max = LIST_MAX,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    return given.filters ? print_filters(error) : show_all(arguments, n, &given, &shared, error);
}
