/* destination: where a command may write.
 *
 * One rule for all commands. What the command reads is never replaced, not with --force either: an input under any of its names, a file of
 * a folder that is read, a ledger's -wal. Something else that exists is replaced only with --force; a result that is written again and
 * again (a page, a law, a table) replaces its own kind without, which its first bytes tell. Everything is checked before the work begins.
 */
#include "destination.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- kinds ---------------------------------------------------------------------------------- */

const destination_kind destination_page = {.name = "a report of pare",
                                           .begins = "<!doctype html>",
                                           .holds = "name=\"generator\" content=\"pare\"",
                                           .earlier = "<title>What compression costs"},
                       destination_law = {.name = "a law file of pare", .begins = "{", .holds = "\"pare-law\""},
                       destination_csv = {.name = "a table of runs", .begins = "model,method,l0,r,d,l,ceiling,"},
                       destination_json = {.name = "a table of runs", .begins = "{", .holds = "\"runs\""},
                       destination_items = {.name = "the items of an evaluation", .begins = "{\"task\": ", .holds = "\"is_greedy\": "},
                       destination_task = {.name = "the documents of pare task make", .begins = "{\"context\":", .holds = ",\"choices\":["},
                       destination_file = {.name = "its own kind"},
                       destination_model = {.name = "a model folder", .folder = true, .holds = "config.json"},
                       destination_adapter = {.name = "an adapter folder", .folder = true, .holds = "adapter_config.json"},
                       destination_tokenizer = {
                           .name = "a tokenizer folder", .folder = true, .holds = "tokenizer.json", .never = "config.json"};

enum { HEAD_BYTES = 4096 };

typedef struct {
    char bytes[HEAD_BYTES + 1]; /* a NUL at the end */
    size_t n;
} head;

static void read_head(head *h, const char *path) {
    FILE *file = fopen(path, "rb");
    h->n = file ? fread(h->bytes, 1, HEAD_BYTES, file) : 0;
    h->bytes[h->n] = '\0';
    if (file)
        fclose(file);
}

static bool begins(const head *h, const char *text) {
    return strncmp(h->bytes, text, strlen(text)) == 0;
}

static bool is_own(const destination_kind *kind, const head *h) {
    return kind->begins && begins(h, kind->begins) &&
           (!kind->holds || strstr(h->bytes, kind->holds) || (kind->earlier && strstr(h->bytes, kind->earlier)));
}

/* For a message. */
static const char *what_it_is(const head *h) {
    static const struct {
        size_t at;
        const char *bytes, *name;
    } known[] = {{0, "GGUF", "a GGUF model"},
                 {0, "SQLite format 3", "an SQLite database, as a ledger is"},
                 {8, "{\"", "a safetensors file"},
                 {0, "PARE-STATE", "the state of a training"},
                 {0, "\x1f\x8b", "a gzip archive"},
                 {0, "PK\x03\x04", "a zip archive"},
                 {0, "%PDF", "a PDF"},
                 {0, "\x89PNG", "a picture"},
                 {0, "{", "a JSON file"},
                 {0, "<", "an HTML or XML file"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i].bytes);
        if (h->n >= known[i].at + n && memcmp(h->bytes + known[i].at, known[i].bytes, n) == 0)
            return known[i].name;
    }
    return "another file";
}

/* ---- inputs --------------------------------------------------------------------------------- */

/* Options and arguments are at most two lists and some single paths. */
enum { INPUTS_MAX = 3 * LIST_MAX };

static struct {
    const char *paths[INPUTS_MAX];
    size_t n;
} inputs;

void reads(const char *path) {
    if (path && inputs.n < INPUTS_MAX)
        inputs.paths[inputs.n++] = path;
}

void reads_all(const option_list *list) {
    for (size_t i = 0; i < list->n; i++)
        reads(list->items[i]);
}

static bool join(char path[PATH_MAX], const char *folder, const char *name) {
    return snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

static bool same_file(const char *a, const char *b) {
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* Visits the names in a folder until `visit` is true. */
typedef bool name_visit(void *user, const char *path);
static bool any_in_folder(const char *folder, name_visit *visit, void *user) {
    char path[PATH_MAX];
    DIR *open = opendir(folder);
    bool found = false;
    for (struct dirent *entry; open && !found && (entry = readdir(open));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && join(path, folder, entry->d_name))
            found = visit(user, path);
    if (open)
        closedir(open);
    return found;
}

typedef struct {
    const char *output;
    const char *input; /* that lies where the output goes */
} search;

/* A model may have a folder of chat templates in it; pare reads no other. */
static bool is_templates(const char *path) {
    return pare_path_is_folder(path) && strcmp(strrchr(path, '/') + 1, "additional_chat_templates") == 0;
}

static bool is_output(void *user, const char *path) {
    return same_file(path, ((const search *)user)->output) || (is_templates(path) && any_in_folder(path, is_output, user));
}

/* A path as the folder above and the last name, without slashes at its end. */
static const char *split(char folder[PATH_MAX], char path[PATH_MAX], const char *text) {
    snprintf(path, PATH_MAX, "%s", text);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = '\0';
    const char *slash = strrchr(path, '/');
    snprintf(folder, PATH_MAX, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    return slash ? slash + 1 : path;
}

/* The same name in the same folder: of files that are not there yet. */
static bool same_name(const char *a, const char *b) {
    char folder_a[PATH_MAX], folder_b[PATH_MAX], path_a[PATH_MAX], path_b[PATH_MAX];
    const char *name_a = split(folder_a, path_a, a), *name_b = split(folder_b, path_b, b);
    return strcmp(name_a, name_b) == 0 && same_file(folder_a, folder_b);
}

bool is_same_place(const char *a, const char *b) {
    return same_file(a, b) || same_name(a, b);
}

/* SQLite keeps rows there that are not in the ledger yet. */
static bool is_beside(const char *input, const char *output) {
    static const char *const ends[] = {"-wal", "-shm", "-journal"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (snprintf(path, sizeof path, "%s%s", input, ends[i]) < (int)sizeof path && is_same_place(path, output))
            return true;
    return false;
}

/* The input that writing `output` would replace, or NULL. */
static const char *input_at(const char *output) {
    search s = {.output = output};
    for (size_t i = 0; i < inputs.n; i++) {
        const char *input = inputs.paths[i];
        if (is_same_place(input, output) || is_beside(input, output) || (pare_path_is_folder(input) && any_in_folder(input, is_output, &s)))
            return input;
    }
    return NULL;
}

static bool holds_input(void *user, const char *path) {
    search *s = user;
    return (s->input = input_at(path)) != NULL;
}

/* A folder that is replaced takes its files with it. */
bool destination_spares_inputs(const char *path, pare_error *error) {
    search s = {.input = input_at(path)};
    if (!s.input && pare_path_is_folder(path))
        any_in_folder(path, holds_input, &s);
    const char *input = s.input;
    if (!input)
        return true;
    if (pare_path_is_folder(input) && !is_same_place(input, path))
        return pare_fail(error, PARE_ERROR_CONFLICT, "%s: is a file of %s, which this command reads; choose another output", path, input);
    return pare_fail(error, PARE_ERROR_CONFLICT, "%s: would replace %s, which this command reads; choose another output", path, input);
}

/* ---- what is there -------------------------------------------------------------------------- */

static bool check_file(bool *replace, const char *path, const destination_kind *kind, bool force, pare_error *error) {
    struct stat status;
    head h;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return pare_fail(error, PARE_ERROR_CONFLICT, "%s: %s", path,
                         S_ISDIR(status.st_mode) ? "is a folder, and a file is to be written"
                                                 : "is no regular file, and pare replaces files as a whole");
    read_head(&h, path);
    *replace = force || h.n == 0 || is_own(kind, &h);
    if (*replace)
        return true;
    if (kind->begins)
        return pare_fail(error, PARE_ERROR_CONFLICT, "%s: exists already and is %s, not %s; choose another name, or --force replaces it",
                         path, what_it_is(&h), kind->name);
    return pare_fail(error, PARE_ERROR_CONFLICT, "%s: exists already; remove it, choose another name, or --force replaces it", path);
}

static bool is_foreign_folder(void *user, const char *path) {
    (void)user;
    return pare_path_is_folder(path) && !is_templates(path);
}

static bool has(const char *folder, const char *name) {
    char path[PATH_MAX];
    return name && join(path, folder, name) && pare_path_exists(path);
}

static bool check_folder(bool *replace, const char *path, const destination_kind *kind, bool force, pare_error *error) {
    if (!pare_path_is_folder(path))
        return pare_fail(error, PARE_ERROR_CONFLICT, "%s: exists already and is a file, and a folder is to be written", path);
    if (pare_path_is_empty_folder(path))
        return true;
    if (!force)
        return pare_fail(error, PARE_ERROR_CONFLICT, "%s: exists already; remove it, choose another name, or --force replaces it", path);
    *replace = has(path, kind->holds) && !has(path, kind->never) && !any_in_folder(path, is_foreign_folder, NULL);
    return *replace ||
           pare_fail(error, PARE_ERROR_CONFLICT,
                     "%s: exists already and is not %s, the only folder that --force removes here; remove it yourself", path, kind->name);
}

/* Whether it can be made there at all: the folder above, its rights, the disk. */
static bool try_it(const char *path, const destination_kind *kind, bool replace, pare_error *error) {
    pare_folder *folder = kind->folder ? pare_folder_open(path, replace, error) : NULL;
    pare_output *output = kind->folder ? NULL : pare_output_open(path, replace, error);
    pare_folder_abandon(folder);
    pare_output_abandon(output);
    return folder || output;
}

bool destination_check(bool *replace, const char *path, const destination_kind *kind, bool force, pare_error *error) {
    *replace = false;
    if (!*path)
        return pare_fail(error, PARE_ERROR_USAGE, "the output has an empty name");
    if (!destination_spares_inputs(path, error))
        return false;
    if (pare_path_exists(path) &&
        !(kind->folder ? check_folder(replace, path, kind, force, error) : check_file(replace, path, kind, force, error)))
        return false;
    return try_it(path, kind, *replace, error);
}
