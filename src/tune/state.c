/* state: a stopped training as a file: everything that the next step depends on, so that going on gives the bits of not having stopped.
 *
 *   "PARE-STATE-1\n\0\0\0"   16 bytes
 *   length, JSON             u64 little-endian, then {identity, step, n_values, tokens, targets, texts, evaluations, sha256: of each block}
 *   losses, values, first moments, second moments   f32, as they lie in memory
 *
 * The file appears whole or not at all. The identity holds what must not change; a state of anything else is refused. */
#include <string.h>

#include "pare/json.h"
#include "pare/cut.h"
#include "tune_impl.h"

static const char magic[16] = "PARE-STATE-1\n";

/* ---- identity ---- */

static json_t *options_json(pare_json_doc *doc, const pare_tune_options *o) {
    json_t *targets = pare_json_array(doc);
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        if (o->targets[p])
            pare_json_append(doc, targets, pare_json_string(doc, pare_projection_name((pare_projection)p)));
    return pare_json_pack(
        doc, "{s:b, s:i, s:f, s:o, s:s*, s:I, s:I, s:I, s:I, s:f, s:s, s:I, s:[f,f], s:f, s:f, s:f, s:f, s:f, s:b, s:I, s:f}", "full",
        o->full, "rank", (int)o->rank, "alpha", o->alpha, "targets", targets, "adapter", o->adapter, "length", (json_int_t)o->length,
        "batch", (json_int_t)o->batch, "micro", (json_int_t)o->micro, "steps", (json_int_t)o->steps, "rate", o->rate, "schedule",
        pare_schedule_name(o->schedule), "warmup", (json_int_t)o->warmup, "betas", o->beta1, o->beta2, "epsilon", o->epsilon, "decay",
        o->decay, "clip", o->clip, "distil_weight", o->distil_weight, "distil_temperature", o->distil_temperature, "recompute",
        o->recompute, "seed", (json_int_t)o->seed, "dropout", o->dropout);
}

static bool cut_hash(pare_sha256 *hash, const pare_cut *cut, pare_error *error) {
    *hash = (pare_sha256){.hex = "none"};
    return !cut || pare_cut_hash(hash, cut, error);
}

bool state_identity(pare_string *identity, const pare_tuner *t, const pare_dataset *dataset, pare_error *error) {
    pare_sha256 base = {.hex = "new"}, teacher = {.hex = "none"}, cut;
    if ((t->base && !pare_checkpoint_hash(&base, t->base, t->context, error)) ||
        (t->teacher_checkpoint && !pare_checkpoint_hash(&teacher, t->teacher_checkpoint, t->context, error)) ||
        !cut_hash(&cut, t->cut, error))
        return false;
    const pare_config *c = &t->model->config;
    pare_json_doc doc = {0};
    json_t *json =
        pare_json_pack(&doc, "{s:s, s:s, s:s, s:s, s:s, s:[i,i,i,i,i,i,i], s:s, s:o}", "program", PARE_VERSION, "model", base.hex, "cut",
                       cut.hex, "teacher", teacher.hex, "data", pare_dataset_facts_of(dataset)->sha256.hex, "shape", (int)c->n_layers,
                       (int)c->width, (int)c->ffn_width, (int)c->n_heads, (int)c->n_kv_heads, (int)c->head_dim, (int)c->vocabulary,
                       "kernels", pare_kernels_best()->name, "options", options_json(&doc, &t->options));
    bool done = pare_json_print(identity, json, &doc, error);
    json_decref(json);
    return done;
}

/* The first thing that differs between two identities, for the message. */
static const char *difference(const char *path, const char *found, const char *wanted) {
    static const char *const names[] = {"program", "model", "cut", "teacher", "data", "shape", "kernels", "options"};
    static const char *const told[] = {"another version of pare", "another model",     "another cut",  "another teacher", "other data",
                                       "another shape",           "another processor", "other options"};
    const char *answer = "something else";
    json_t *a = pare_json_parse(found, strlen(found), path, NULL), *b = pare_json_parse(wanted, strlen(wanted), path, NULL);
    for (size_t i = 0; a && b && i < sizeof names / sizeof *names; i++)
        if (!json_equal(json_object_get(a, names[i]), json_object_get(b, names[i]))) {
            answer = told[i];
            break;
        }
    json_decref(a);
    json_decref(b);
    return answer;
}

/* ---- blocks of numbers ---- */

enum { BLOCKS = 4 }; /* losses, values, first moments, second moments */
typedef struct {
    float *at;
    size_t bytes;
} block;

static void blocks_of(block blocks[BLOCKS], const pare_tuner *t, const pare_tune_result *result, uint64_t step) {
    size_t bytes = t->n_values * sizeof(float);
    blocks[0] = (block){result->losses, (size_t)step * sizeof *result->losses};
    blocks[1] = (block){t->values, bytes};
    blocks[2] = (block){t->first_moment, bytes};
    blocks[3] = (block){t->second_moment, bytes};
}

/* ---- writing ---- */

static json_t *hashes_json(pare_json_doc *doc, const block blocks[BLOCKS]) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < BLOCKS; i++) {
        pare_sha256 hash;
        pare_error error = {0};
        if (!pare_sha256_bytes(&hash, blocks[i].at, blocks[i].bytes, &error))
            pare_json_fail(doc, &error);
        else
            pare_json_append(doc, list, pare_json_string(doc, hash.hex));
    }
    return list;
}

static json_t *evaluations_json(pare_json_doc *doc, const pare_tune_result *result) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < result->n_evaluations; i++)
        pare_json_append(doc, list,
                         pare_json_pack(doc, "[I, I, f, I]", (json_int_t)result->evaluations[i].step,
                                        (json_int_t)result->evaluations[i].tokens, result->evaluations[i].cross_entropy,
                                        (json_int_t)result->evaluations[i].text));
    return list;
}

static bool write_header(pare_output *out, const pare_tuner *t, const char *identity, const pare_tune_run_options *run,
                         const pare_tune_result *result, const block blocks[BLOCKS], pare_error *error) {
    pare_string text = {0};
    uint8_t length[8];
    pare_json_doc doc = {0};
    json_t *json =
        pare_json_pack(&doc, "{s:s, s:I, s:I, s:I, s:I, s:s, s:o, s:o}", "identity", identity, "step", (json_int_t)t->step, "n_values",
                       (json_int_t)t->n_values, "tokens", (json_int_t)result->tokens, "targets", (json_int_t)result->targets, "texts",
                       run->texts ? run->texts : "", "evaluations", evaluations_json(&doc, result), "sha256", hashes_json(&doc, blocks));
    bool done = pare_json_print(&text, json, &doc, error);
    while (done && text.length % 8 != 0)
        pare_string_push(&text, " ", 1);
    for (unsigned i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)text.length >> (8 * i));
    done = done && pare_string_check(&text, error) && pare_output_write(out, magic, sizeof magic, error) &&
           pare_output_write(out, length, sizeof length, error) && pare_output_write(out, text.data, text.length, error);
    pare_string_free(&text);
    json_decref(json);
    return done;
}

bool state_write(const char *path, const pare_tuner *t, const char *identity, const pare_tune_run_options *run,
                 const pare_tune_result *result, pare_error *error) {
    pare_output *out = pare_output_open(path, true, error);
    if (!out)
        return false;
    block blocks[BLOCKS];
    blocks_of(blocks, t, result, t->step);
    bool done = write_header(out, t, identity, run, result, blocks, error);
    for (size_t i = 0; done && i < BLOCKS; i++)
        done = pare_output_write(out, blocks[i].at, blocks[i].bytes, error);
    if (done)
        return pare_output_commit(out, error);
    pare_output_abandon(out);
    return false;
}

/* ---- reading ---- */

/* After a step all texts were evaluated, in their order. */
static bool read_evaluations(pare_tune_result *result, size_t *capacity, const json_t *list, uint64_t last, size_t n_texts,
                             const char *path, pare_error *error) {
    size_t n = json_array_size(list);
    if (n > 0 && (n_texts == 0 || n % n_texts != 0 || n / n_texts > last + 1))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %zu evaluations of %zu texts in %llu steps", path, n, n_texts,
                         (unsigned long long)last);
    if (!pare_grow((void **)&result->evaluations, capacity, n + 1, sizeof *result->evaluations, error))
        return false;
    for (size_t i = 0; i < n; i++) {
        json_int_t step, tokens, text;
        double loss;
        if (json_unpack(json_array_get(list, i), "[I, I, F, I]", &step, &tokens, &loss, &text) != 0 || step < 0 || (uint64_t)step > last ||
            tokens < 0 || text < 0 || (size_t)text != i % n_texts)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: evaluation %zu is not [step, tokens, loss, text]", path, i);
        result->evaluations[i] = (pare_tune_evaluation){(uint64_t)step, (uint64_t)tokens, (size_t)text, loss};
    }
    result->n_evaluations = n;
    return true;
}

static bool read_header(uint64_t *step, const json_t *json, const pare_tuner *t, const char *identity, const pare_tune_run_options *run,
                        pare_tune_result *result, size_t *capacity, const char *path, pare_error *error) {
    const char *found = "", *texts = "";
    uint64_t n_values = 0;
    if (!pare_json_get_string(&found, json, "identity", path, error) || !pare_json_get_u64(step, json, "step", path, error) ||
        !pare_json_get_u64(&n_values, json, "n_values", path, error) || !pare_json_get_u64(&result->tokens, json, "tokens", path, error) ||
        !pare_json_get_u64(&result->targets, json, "targets", path, error) || !pare_json_get_string(&texts, json, "texts", path, error))
        return false;
    if (strcmp(texts, run->texts ? run->texts : "") != 0)
        return pare_fail(error, PARE_ERROR_CONFLICT,
                         "%s: this training follows the loss on other held-out texts; go on with the same --eval", path);
    if (strcmp(found, identity) != 0)
        return pare_fail(error, PARE_ERROR_CONFLICT, "%s: this state belongs to %s; remove it to begin anew", path,
                         difference(path, found, identity));
    if (n_values != t->n_values || *step > t->options.steps)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %llu values after step %llu, but %zu are trained in %llu steps", path,
                         (unsigned long long)n_values, (unsigned long long)*step, t->n_values, (unsigned long long)t->options.steps);
    return read_evaluations(result, capacity, json_object_get(json, "evaluations"), *step, run->n_texts, path, error);
}

/* Every block as it was written, or nothing of it. */
static bool check_blocks(const uint8_t *at, const block blocks[BLOCKS], const json_t *hashes, const char *path, pare_error *error) {
    static const char *const names[BLOCKS] = {"losses", "trained values", "first moments", "second moments"};
    for (size_t i = 0; i < BLOCKS; at += blocks[i++].bytes) {
        pare_sha256 hash;
        const char *wanted = json_string_value(json_array_get(hashes, i));
        if (!pare_sha256_bytes(&hash, at, blocks[i].bytes, error))
            return false;
        if (!wanted || strcmp(wanted, hash.hex) != 0)
            return pare_fail(error, PARE_ERROR_FORMAT,
                             "%s: its %s are not those that were written: the file is damaged; remove it to begin anew", path, names[i]);
    }
    return true;
}

static bool read_blocks(const uint8_t *at, pare_tuner *t, uint64_t step, const json_t *json, pare_tune_result *result, const char *path,
                        pare_error *error) {
    block blocks[BLOCKS];
    blocks_of(blocks, t, result, step);
    if (!check_blocks(at, blocks, json_object_get(json, "sha256"), path, error))
        return false;
    for (size_t i = 0; i < BLOCKS; at += blocks[i++].bytes)
        memcpy(blocks[i].at, at, blocks[i].bytes);
    t->step = step;
    return true;
}

static bool read_map(const pare_map *map, const char *path, pare_tuner *t, const char *identity, const pare_tune_run_options *run,
                     pare_tune_result *result, size_t *capacity, pare_error *error) {
    uint64_t length = 0, step = 0;
    size_t head = sizeof magic + sizeof length;
    if (map->size < head || memcmp(map->data, magic, sizeof magic) != 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a state of pare's training", path);
    for (unsigned i = 8; i-- > 0;)
        length = length << 8 | map->data[sizeof magic + i];
    if (length > map->size - head || length % 8 != 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: byte 16: a header of %llu bytes in a file of %zu", path, (unsigned long long)length,
                         map->size);
    json_t *json = pare_json_parse((const char *)map->data + head, (size_t)length, path, error);
    bool done = json && read_header(&step, json, t, identity, run, result, capacity, path, error);
    size_t at = head + (size_t)length, wanted = at + ((size_t)step + 3 * t->n_values) * sizeof(float);
    if (done && map->size != wanted)
        done = pare_fail(error, PARE_ERROR_FORMAT, "%s: %zu bytes, but step %llu of this training has %zu: the file is cut or was added to",
                         path, map->size, (unsigned long long)step, wanted);
    done = done && read_blocks(map->data + at, t, step, json, result, path, error);
    json_decref(json);
    return done;
}

bool state_read(const char *path, pare_tuner *t, const char *identity, const pare_tune_run_options *run, pare_tune_result *result,
                size_t *capacity, pare_error *error) {
    pare_map map;
    if (!pare_path_exists(path))
        return pare_fail(error, PARE_ERROR_IO, "%s: there is no state to go on from", path);
    if (!pare_map_open(&map, path, error))
        return false;
    bool done = read_map(&map, path, t, identity, run, result, capacity, error);
    pare_map_close(&map);
    return done;
}
