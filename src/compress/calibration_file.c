/* calibration_file: statistics of a calibration pass kept on disk, named by the hash of what they follow from: the model's tensors and
 * configuration, the windows' tokens, and the kernels, whose sums differ in their last bits. A safetensors file, so that other programs
 * read it; reading takes only what writing makes, and numbers whose SHA-256 is the one they carry. Whatever is wrong with a cache is a
 * remark, and the pass is made. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pare/compress.h"
#include "pare/json.h"

enum { FOLDER_NAME_BYTES = PATH_MAX - 300, LENGTH_BYTES = 8, HEADER_MAX = 8192, PARTS_MAX = 2 * PARE_TAP_PLACES + 1 };
static const char ending[] = ".calibration";
static const uint64_t FOLDER_BYTES = 1u << 30;

/* ---- parts ---- */

typedef struct {
    char name[32];
    double **values;
    uint32_t columns;
} part;

/* The arrays of a calibration of this model, each (n_layers, columns), in the file's order. */
static size_t list_parts(part parts[PARTS_MAX], pare_calibration *c, const pare_config *config) {
    static const struct {
        pare_tap_place place;
        const char *name;
    } places[] = {
        {PARE_TAP_ATTENTION_IN, "attention_in"}, {PARE_TAP_ATTENDED, "attended"}, {PARE_TAP_FFN_IN, "ffn_in"}, {PARE_TAP_FFN, "ffn"}};
    const uint32_t columns[] = {config->width, config->n_heads * config->head_dim, config->width, config->ffn_width};
    size_t n = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        pare_moments *m = &c->places[places[i].place];
        m->columns = columns[i];
        parts[n] = (part){.values = &m->mean, .columns = columns[i]};
        snprintf(parts[n++].name, sizeof parts->name, "%s.mean", places[i].name);
        parts[n] = (part){.values = &m->mean_square, .columns = columns[i]};
        snprintf(parts[n++].name, sizeof parts->name, "%s.mean_square", places[i].name);
    }
    parts[n++] = (part){"similarity", &c->similarity, 1};
    return n;
}

static json_t *tensors_json(pare_json_doc *doc, const part *parts, size_t n, uint32_t n_layers) {
    json_t *header = pare_json_object(doc);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t end = at + (uint64_t)n_layers * parts[i].columns * sizeof(double);
        pare_json_set(doc, header, parts[i].name,
                      pare_json_pack(doc, "{s:s, s:[II], s:[II]}", "dtype", "F64", "shape", (json_int_t)n_layers,
                                     (json_int_t)parts[i].columns, "data_offsets", (json_int_t)at, (json_int_t)end));
        at = end;
    }
    return header;
}

/* ---- the name ---- */

static bool name_of(pare_sha256 *key, const pare_checkpoint *checkpoint, const pare_windows *windows, const pare_context *context,
                    pare_error *error) {
    pare_sha256 model, ids;
    pare_string text = {0};
    pare_context quietly = {.n_threads = pare_context_threads(context), .cancel = context ? context->cancel : NULL};
    bool done = pare_checkpoint_hash(&model, checkpoint, &quietly, error) &&
                pare_sha256_bytes(&ids, windows->ids, windows->n * windows->length * sizeof *windows->ids, error);
    if (done)
        pare_string_print(&text, "pare-calibration 1 by %s\nmodel %s\nwindows %zu of %zu: %s\n", pare_kernels_best()->name, model.hex,
                          windows->n, windows->length, ids.hex);
    done = done && pare_string_check(&text, error) && pare_sha256_bytes(key, text.data, text.length, error);
    pare_string_free(&text);
    return done;
}

/* $PARE_CACHE, where it is empty nowhere; $XDG_CACHE_HOME/pare; $HOME/.cache/pare. False: nowhere, or a name too long to be a path. */
static bool cache_folder(char folder[FOLDER_NAME_BYTES]) {
    const char *own = getenv("PARE_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (own)
        n = snprintf(folder, FOLDER_NAME_BYTES, "%s", own);
    else if (cache && *cache)
        n = snprintf(folder, FOLDER_NAME_BYTES, "%s/pare", cache);
    else if (home && *home)
        n = snprintf(folder, FOLDER_NAME_BYTES, "%s/.cache/pare", home);
    return n > 0 && n < FOLDER_NAME_BYTES;
}

static bool make_folder(char *folder, pare_error *error) {
    for (char *at = folder + 1;; at++) {
        char end = *at;
        if (end != '/' && end != '\0')
            continue;
        *at = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return pare_fail(error, PARE_ERROR_IO, "%s: %s", folder, strerror(errno));
        *at = end;
        if (end == '\0')
            return true;
    }
}

/* ---- out ---- */

static bool print_header(pare_string *text, const part *parts, size_t n, const pare_calibration *c, const char *sha256, pare_error *error) {
    char tokens[24];
    pare_json_doc doc = {0};
    json_t *header = tensors_json(&doc, parts, n, c->n_layers);
    snprintf(tokens, sizeof tokens, "%llu", (unsigned long long)c->tokens);
    pare_json_set(&doc, header, "__metadata__",
                  pare_json_pack(&doc, "{s:s, s:s, s:s}", "format", "pare-calibration", "sha256", sha256, "tokens", tokens));
    bool done = pare_json_print(text, header, &doc, error);
    while (done && text->length % 8)
        pare_string_push(text, " ", 1);
    json_decref(header);
    return done && pare_string_check(text, error);
}

/* All numbers in one piece, in the file's order; NULL: no memory. */
static double *gather(size_t *n_values, const part *parts, size_t n, uint32_t n_layers, pare_error *error) {
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        total += (size_t)n_layers * parts[i].columns;
    double *all = pare_allocate(total, sizeof *all, error);
    for (size_t i = 0; all && i < n; at += (size_t)n_layers * parts[i].columns, i++)
        memcpy(all + at, *parts[i].values, (size_t)n_layers * parts[i].columns * sizeof *all);
    *n_values = total;
    return all;
}

static bool write_file(const char *path, pare_calibration *c, const pare_config *config, pare_error *error) {
    part parts[PARTS_MAX];
    size_t n = list_parts(parts, c, config), n_values;
    double *values = gather(&n_values, parts, n, c->n_layers, error);
    pare_sha256 hash;
    pare_string header = {0};
    uint8_t length[LENGTH_BYTES];
    bool done =
        values && pare_sha256_bytes(&hash, values, n_values * sizeof *values, error) && print_header(&header, parts, n, c, hash.hex, error);
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (uint8_t)((uint64_t)header.length >> 8 * i);
    pare_output *output = done ? pare_output_open(path, true, error) : NULL;
    done = output && pare_output_write(output, length, sizeof length, error) &&
           pare_output_write(output, header.data, header.length, error) &&
           pare_output_write(output, values, n_values * sizeof *values, error);
    if (output && !done)
        pare_output_abandon(output);
    pare_string_free(&header);
    pare_free(values);
    return done && pare_output_commit(output, error);
}

/* The oldest go until the rest are no more than FOLDER_BYTES. */
static void prune(const char *folder) {
    for (;;) {
        char oldest[PATH_MAX] = "", path[PATH_MAX];
        uint64_t bytes = 0;
        time_t when = 0;
        DIR *open = opendir(folder);
        for (struct dirent *entry; open && (entry = readdir(open));) {
            struct stat found;
            size_t n = strlen(entry->d_name);
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            if (n < sizeof ending || strcmp(entry->d_name + n + 1 - sizeof ending, ending) != 0 || stat(path, &found) != 0)
                continue;
            bytes += (uint64_t)found.st_size;
            if (!oldest[0] || found.st_mtime < when) {
                when = found.st_mtime;
                snprintf(oldest, sizeof oldest, "%s", path);
            }
        }
        if (open)
            closedir(open);
        if (bytes <= FOLDER_BYTES || unlink(oldest) != 0)
            return;
    }
}

/* ---- in ---- */

static bool fill(pare_calibration *c, part *parts, size_t n, const double *values, pare_error *error) {
    for (size_t i = 0; i < n; i++) {
        size_t count = (size_t)c->n_layers * parts[i].columns;
        if (!(*parts[i].values = pare_allocate(count, sizeof(double), error)))
            return false;
        memcpy(*parts[i].values, values, count * sizeof(double));
        values += count;
    }
    return true;
}

static bool read_map(pare_calibration *c, const pare_map *map, const char *path, const pare_config *config, pare_error *error) {
    part parts[PARTS_MAX];
    size_t n = list_parts(parts, c, config), bytes = 0;
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; map->size >= LENGTH_BYTES && i >= 0; i--)
        length = length << 8 | map->data[i];
    if (length == 0 || length > HEADER_MAX || length > map->size - LENGTH_BYTES)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a calibration, or cut short", path);
    json_t *header = pare_json_parse((const char *)map->data + LENGTH_BYTES, (size_t)length, path, error);
    if (!header)
        return false;
    for (size_t i = 0; i < n; i++)
        bytes += (size_t)c->n_layers * parts[i].columns * sizeof(double);
    const uint8_t *numbers = map->data + LENGTH_BYTES + length;
    const json_t *metadata = json_object_get(header, "__metadata__");
    const char *format = json_string_value(json_object_get(metadata, "format")),
               *sha256 = json_string_value(json_object_get(metadata, "sha256"));
    pare_sha256 hash;
    bool whole = format && strcmp(format, "pare-calibration") == 0 && sha256 && map->size - LENGTH_BYTES - length == bytes &&
                 pare_sha256_bytes(&hash, numbers, bytes, NULL) && strcmp(hash.hex, sha256) == 0;
    json_object_del(header, "__metadata__");
    pare_json_doc doc = {0};
    json_t *wanted = tensors_json(&doc, parts, n, c->n_layers);
    whole = whole && !doc.failed && json_equal(wanted, header);
    json_decref(wanted);
    json_decref(header);
    return whole ? fill(c, parts, n, (const double *)(const void *)numbers, error)
                 : pare_fail(error, PARE_ERROR_FORMAT, "%s: damaged, or of something else", path);
}

/* False and code OK: there is none. */
static bool read_file(pare_calibration *c, const char *path, const pare_config *config, pare_error *error) {
    pare_map map;
    if (!pare_path_exists(path) || !pare_map_open(&map, path, error))
        return false;
    bool done = read_map(c, &map, path, config, error);
    pare_map_close(&map);
    return done;
}

/* ---- both ---- */

/* Like pare_calibrate, which reads no file. */
static bool recall(pare_calibration *c, const char *path, const pare_checkpoint *checkpoint, const pare_windows *windows,
                   pare_error *error) {
    pare_calibration found;
    if (!pare_calibrate(&found, checkpoint, windows, false, NULL, error))
        return false;
    if (read_file(&found, path, &checkpoint->config, error)) {
        *c = found;
        return true;
    }
    pare_calibration_free(&found);
    return false;
}

bool pare_calibrate_cached(pare_calibration *calibration, pare_cache_report *report, const pare_checkpoint *checkpoint,
                           const pare_windows *windows, const pare_context *context, pare_error *error) {
    char folder[FOLDER_NAME_BYTES], path[PATH_MAX];
    pare_sha256 key;
    pare_error problem = {0};
    *report = (pare_cache_report){.hit = false};
    if (!cache_folder(folder))
        return pare_calibrate(calibration, checkpoint, windows, true, context, error);
    if (!name_of(&key, checkpoint, windows, context, error))
        return false;
    snprintf(path, sizeof path, "%s/%s%s", folder, key.hex, ending);
    if (recall(calibration, path, checkpoint, windows, &problem)) {
        report->hit = true;
        return true;
    }
    if (problem.code != PARE_OK)
        snprintf(report->remark, sizeof report->remark, "the cached calibration is not used: %.380s", problem.message);
    if (!pare_calibrate(calibration, checkpoint, windows, true, context, error))
        return false;
    problem = (pare_error){0};
    if (!make_folder(folder, &problem) || !write_file(path, calibration, &checkpoint->config, &problem))
        snprintf(report->remark, sizeof report->remark, "the calibration is not kept for the next time: %.380s", problem.message);
    else
        prune(folder);
    return true;
}
