/* pare task make: a multiple-choice task out of any text, so that small models have an accuracy above chance too. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "destination.h"
#include "pare/corpus.h"
#include "pare/task.h"

typedef struct {
    const char *text, *out;
    bool force;
    pare_task_make_options make;
} task_make_options;

enum { NAME_BYTES = 64 };

static bool is_shipped(const char *name) {
    for (const char *const *known = pare_task_names; *known; known++)
        if (strcmp(*known, name) == 0 && strcmp(name, "continuation") != 0)
            return true;
    return false;
}

/* The name without folder and ending: one that a task may have (task.c), as a plain word of YAML and of the list of --tasks. */
static bool name_of(char name[NAME_BYTES], const char *path, pare_error *error) {
    static const char letters[] = "-.ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz0123456789";
    const char *slash = strrchr(path, '/'), *begin = slash ? slash + 1 : path, *point = strrchr(begin, '.');
    size_t n = point ? (size_t)(point - begin) : 0;
    if (!point || strcmp(point, ".jsonl") != 0)
        return pare_fail(error, PARE_ERROR_USAGE, "-o %s: a name that ends in .jsonl is needed", path);
    if (n == 0 || n >= NAME_BYTES || strspn(begin, letters) < n || *begin == '-' || *begin == '.')
        return pare_fail(error, PARE_ERROR_USAGE,
                         "-o %s: the name is the task's, and has 1 to %d of the characters A-Z a-z 0-9 _ - . (the first no - or .)", path,
                         NAME_BYTES - 1);
    snprintf(name, NAME_BYTES, "%.*s", (int)n, begin);
    return !is_shipped(name) ||
           pare_fail(error, PARE_ERROR_USAGE, "-o %s: %s is another task that pare knows; choose another name", path, name);
}

/* The task file beside the documents, for another name than the task's own: the shipped one with that name. */
typedef struct {
    pare_string path, text;
    bool write, replace; /* write: it is not there yet as it would be written */
} task_file;

static bool make_file(task_file *file, const char *out, const char *name, pare_error *error) {
    pare_string *text = &file->text;
    pare_task *task = pare_task_open("continuation", NULL, error);
    if (!task)
        return false;
    for (const char *at = task->text, *found; *at; at = found ? found + strlen("continuation") : at + strlen(at)) {
        found = strstr(at, "continuation");
        bool named =
            found && (strncmp(found, "continuation.jsonl", 18) == 0 || (found > task->text + 5 && strncmp(found - 6, "task: ", 6) == 0));
        pare_string_push(text, at, found ? (size_t)(found - at) : strlen(at));
        if (found)
            pare_string_print(text, "%s", named ? name : "continuation");
    }
    pare_task_close(task);
    pare_string_print(&file->path, "%.*s.yaml", (int)(strlen(out) - strlen(".jsonl")), out);
    return pare_string_check(text, error) && pare_string_check(&file->path, error);
}

static bool is_there(const task_file *file) {
    pare_map map;
    pare_error ignored;
    if (!pare_path_exists(file->path.data) || !pare_map_open(&map, file->path.data, &ignored))
        return false;
    bool same = map.size == file->text.length && memcmp(map.data, file->text.data, map.size) == 0;
    pare_map_close(&map);
    return same;
}

static bool prepare_file(task_file *file, const task_make_options *given, const char *name, pare_error *error) {
    if (strcmp(name, "continuation") == 0)
        return true;
    if (!make_file(file, given->out, name, error))
        return false;
    file->write = !is_there(file);
    return !file->write || destination_check(&file->replace, file->path.data, &destination_file, given->force, error);
}

static bool write_all(const task_make_options *given, bool replace, const task_file *file, const pare_string *items, pare_error *error) {
    return pare_file_write(given->out, items->data, items->length, replace, error) &&
           (!file->write || pare_file_write(file->path.data, file->text.data, file->text.length, file->replace, error));
}

static bool tell(const task_make_options *given, const char *name, const pare_string *items, const pare_sha256 *text, const common *shared,
                 pare_error *error) {
    size_t n = 0;
    pare_json_doc doc = {0};
    for (size_t i = 0; i < items->length; i++)
        n += items->data[i] == '\n';
    if (shared->json)
        return print_json(
            pare_json_pack(&doc, "{s:s, s:I, s:s, s:s}", "task", name, "items", (json_int_t)n, "out", given->out, "text_sha256", text->hex),
            &doc, error);
    printf("%zu items; chance is %.4f. Score a model on them: pare eval MODEL --tasks %s --data DIR, where DIR holds %s\n", n,
           1.0 / given->make.n_choices, name, given->out);
    return true;
}

static bool make(const task_make_options *given, const common *shared, pare_error *error) {
    char name[NAME_BYTES];
    pare_corpus corpus = {0};
    pare_string items = {0};
    task_file file = {0};
    bool replace;
    if (!given->text || !given->out)
        return pare_fail(error, PARE_ERROR_USAGE, "--text FILE and -o DIR/NAME.jsonl are both needed");
    if (!name_of(name, given->out, error))
        return false;
    reads(given->text);
    bool done = destination_check(&replace, given->out, &destination_task, given->force, error) &&
                prepare_file(&file, given, name, error) && pare_corpus_open(&corpus, given->text, NULL, &shared->context, error) &&
                pare_task_make(&items, corpus.bytes, corpus.length, given->text, &given->make, error) &&
                write_all(given, replace, &file, &items, error) && tell(given, name, &items, &corpus.sha256, shared, error);
    pare_string_free(&file.path);
    pare_string_free(&file.text);
    pare_string_free(&items);
    pare_corpus_close(&corpus);
    return done;
}

bool cmd_task(int argc, char **argv, pare_error *error) {
    task_make_options given = {.make = {.items = 500, .context_words = 48, .choice_words = 12, .n_choices = 4}};
    const option options[] = {
        {"text", 0, OPTION_STRING, "FILE", "a text that the model was not trained on", &given.text},
        {"output", 'o', OPTION_STRING, "FILE", "the file of documents to write: DIR/NAME.jsonl", &given.out},
        {"items", 'n', OPTION_COUNT, "N", "the most items to make (500)", &given.make.items},
        {"context-words", 0, OPTION_COUNT, "N", "number of words in a context (48)", &given.make.context_words},
        {"choice-words", 0, OPTION_COUNT, "N", "number of words in a continuation (12)", &given.make.choice_words},
        {"choices", 0, OPTION_COUNT, "N", "number of continuations to choose from (4)", &given.make.n_choices},
        {"seed", 's', OPTION_SEED, "N", "seed of the draws of contexts and continuations (0)", &given.make.seed},
        OPTION_FORCE('f', &given.force),
        {0},
    };
    const subcommand subcommands[] = {
        {"make", "--text FILE -o DIR/NAME.jsonl",
         "Each item has a context cut from the text and four continuations: the true one, and three from elsewhere in the text. pare\n"
         "eval MODEL --tasks NAME --data DIR then measures how often the model prefers the true one. Under another NAME than\n"
         "continuation, the task file NAME.yaml is written beside the documents.",
         "  pare task make --text demo/test.txt -o continuation.jsonl --items 20",
         "text output items context-words choice-words choices seed force"},
        {0},
    };
    const command_face face = {
        .name = "task",
        .usage = "make --text FILE -o DIR/NAME.jsonl",
        .about =
            "Makes a multiple-choice task out of any text that the model was not trained on: the true continuation of a passage against\n"
            "three others.",
        .example = "  pare task make --text demo/test.txt -o continuation.jsonl --items 20",
        .options = options,
        .subcommands = subcommands,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && make(&given, &shared, error));
}
