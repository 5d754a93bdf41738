/* policy_file: a policy as a safetensors file, so that other programs read it: eight bytes of header length, a JSON header, the floats.
 * Reading takes only what writing makes: these three tensors in this order, and metadata whose SHA-256 is that of the floats. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pare/json.h"
#include "policy.h"

enum { LENGTH_BYTES = 8, HEADER_MAX = 4096, WIDTH_MAX = 1 << 24 };

/* The names that the authors' network gives its parameters. */
static const char *const names[] = {"proj_intermediate.weight", "proj_intermediate.bias", "row_sparsities"};

/* Where tensor i lies: its dimensions and how many floats it has. */
static size_t shape_of(uint64_t dims[2], const pare_policy *p, int i) {
    dims[0] = p->ffn_width;
    dims[1] = i == 0 ? p->width : 1;
    return (size_t)(dims[0] * dims[1]);
}

/* ---- out ---- */

static json_t *tensors_json(pare_json_doc *doc, const pare_policy *p) {
    json_t *header = pare_json_object(doc);
    uint64_t at = 0, dims[2];
    for (int i = 0; i < 3; i++) {
        uint64_t end = at + shape_of(dims, p, i) * sizeof(float);
        json_t *shape = i == 1 ? pare_json_pack(doc, "[I]", (json_int_t)dims[0])
                               : pare_json_pack(doc, "[II]", (json_int_t)dims[0], (json_int_t)dims[1]);
        pare_json_set(
            doc, header, names[i],
            pare_json_pack(doc, "{s:s, s:o, s:[II]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)at, (json_int_t)end));
        at = end;
    }
    return header;
}

/* Metadata of safetensors are strings. */
static bool print_header(pare_string *text, const pare_policy *p, pare_error *error) {
    pare_sha256 hash;
    pare_string ratio = {0}, reward = {0};
    char seed[24], episodes[16];
    pare_json_doc doc = {0};
    json_t *header = tensors_json(&doc, p);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)p->seed);
    snprintf(episodes, sizeof episodes, "%u", p->episodes);
    pare_string_number(&ratio, p->ratio);
    pare_string_number(&reward, p->reward);
    bool done = pare_sha256_bytes(&hash, p->values, p->n_values * sizeof *p->values, error) && pare_string_check(&ratio, error) &&
                pare_string_check(&reward, error);
    if (done) {
        pare_json_set(&doc, header, "__metadata__",
                      pare_json_pack(&doc, "{s:s, s:s, s:s, s:s, s:s, s:s}", "format", "pare-policy", "sha256", hash.hex, "ratio",
                                     ratio.data, "episodes", episodes, "seed", seed, "reward", reward.data));
        done = pare_json_print(text, header, &doc, error);
    }
    while (done && text->length % 8) /* the format's readers like the floats aligned */
        pare_string_push(text, " ", 1);
    done = done && pare_string_check(text, error);
    json_decref(header);
    pare_string_free(&ratio);
    pare_string_free(&reward);
    return done;
}

bool pare_policy_write(const pare_policy *policy, const char *path, bool replace, pare_error *error) {
    pare_string header = {0};
    uint8_t length[LENGTH_BYTES];
    if (!print_header(&header, policy, error)) {
        pare_string_free(&header);
        return false;
    }
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (uint8_t)((uint64_t)header.length >> 8 * i);
    pare_output *output = pare_output_open(path, replace, error);
    bool done = output && pare_output_write(output, length, sizeof length, error) &&
                pare_output_write(output, header.data, header.length, error) &&
                pare_output_write(output, policy->values, policy->n_values * sizeof *policy->values, error);
    pare_string_free(&header);
    if (done)
        return pare_output_commit(output, error);
    pare_output_abandon(output);
    return false;
}

/* ---- in ---- */

static bool get_number(double *value, const json_t *metadata, const char *key, const char *path, pare_error *error) {
    const char *text = json_string_value(json_object_get(metadata, key));
    char *end = NULL;
    *value = text ? strtod(text, &end) : 0;
    return (text && end != text && *end == '\0' && isfinite(*value)) ||
           pare_fail(error, PARE_ERROR_FORMAT, "%s: the policy's \"%s\" is missing or no number", path, key);
}

static bool get_whole(uint64_t *value, const json_t *metadata, const char *key, const char *path, pare_error *error) {
    const char *text = json_string_value(json_object_get(metadata, key));
    char rest;
    unsigned long long read;
    if (!text || text[0] < '0' || text[0] > '9' || strlen(text) > 20 || sscanf(text, "%llu%c", &read, &rest) != 1)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the policy's \"%s\" is missing or no whole number", path, key);
    *value = read;
    return true;
}

/* The widths come from the first tensor's shape; everything else in the header must then be what print_header makes of them. */
static bool read_header(pare_policy *p, const char **sha256, const json_t *header, const char *path, pare_error *error) {
    const json_t *metadata = json_object_get(header, "__metadata__"), *shape = json_object_get(json_object_get(header, names[0]), "shape");
    const char *format = json_string_value(json_object_get(metadata, "format"));
    uint64_t episodes;
    if (!format || strcmp(format, "pare-policy") != 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a policy that pare wrote", path);
    json_int_t ffn_width = json_integer_value(json_array_get(shape, 0)), width = json_integer_value(json_array_get(shape, 1));
    if (ffn_width < 1 || ffn_width > WIDTH_MAX || width < 1 || width > WIDTH_MAX)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s has no shape [FFN width, width]", path, names[0]);
    *p = (pare_policy){.width = (uint32_t)width, .ffn_width = (uint32_t)ffn_width};
    pare_json_doc doc = {0};
    json_t *wanted = tensors_json(&doc, p), *found = pare_json_copy(&doc, header);
    json_object_del(found, "__metadata__");
    bool same = json_equal(wanted, found);
    json_decref(wanted);
    json_decref(found);
    if (!pare_json_check(&doc, error))
        return false;
    if (!same)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: its tensors are not those of a policy for width %u and FFN width %u", path, p->width,
                         p->ffn_width);
    *sha256 = json_string_value(json_object_get(metadata, "sha256"));
    if (!get_number(&p->ratio, metadata, "ratio", path, error) || !get_number(&p->reward, metadata, "reward", path, error) ||
        !get_whole(&p->seed, metadata, "seed", path, error) || !get_whole(&episodes, metadata, "episodes", path, error))
        return false;
    p->episodes = episodes > UINT32_MAX ? UINT32_MAX : (uint32_t)episodes;
    return true;
}

static bool read_values(pare_policy *p, const uint8_t *bytes, size_t n_bytes, const char *sha256, const char *path, pare_error *error) {
    pare_policy shape = *p;
    size_t wanted = (size_t)p->ffn_width * (p->width + (size_t)2) * sizeof(float); /* widths are below 2^25 */
    if (n_bytes != wanted)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: cut short, or too long: %zu bytes of floats; width %u and FFN width %u take %zu",
                         path, n_bytes, p->width, p->ffn_width, wanted);
    if (!policy_open(p, shape.width, shape.ffn_width, error))
        return false;
    p->ratio = shape.ratio;
    p->reward = shape.reward;
    p->seed = shape.seed;
    p->episodes = shape.episodes;
    memcpy(p->values, bytes, n_bytes);
    for (size_t i = 0; i < p->n_values; i++)
        if (!isfinite(p->values[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "%s: number %zu of the policy is not finite", path, i);
    pare_sha256 hash;
    if (!pare_sha256_bytes(&hash, bytes, n_bytes, error))
        return false;
    return (sha256 && strcmp(sha256, hash.hex) == 0) ||
           pare_fail(error, PARE_ERROR_FORMAT, "%s: damaged: the SHA-256 of its numbers is not the one it carries", path);
}

bool pare_policy_read(pare_policy *policy, const char *path, pare_error *error) {
    pare_map map;
    *policy = (pare_policy){0};
    if (!pare_map_open(&map, path, error))
        return false;
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; map.size >= LENGTH_BYTES && i >= 0; i--)
        length = length << 8 | map.data[i];
    bool done = (length > 0 && length <= HEADER_MAX && length <= map.size - LENGTH_BYTES) ||
                pare_fail(error, PARE_ERROR_FORMAT, "%s: not a policy, or cut short: %zu bytes", path, map.size);
    json_t *header = done ? pare_json_parse((const char *)map.data + LENGTH_BYTES, (size_t)length, path, error) : NULL;
    const char *sha256 = NULL;
    done = header && read_header(policy, &sha256, header, path, error) &&
           read_values(policy, map.data + LENGTH_BYTES + length, map.size - LENGTH_BYTES - (size_t)length, sha256, path, error);
    json_decref(header);
    pare_map_close(&map);
    if (!done)
        pare_policy_free(policy);
    return done;
}
