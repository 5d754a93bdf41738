/* gguf_entries: the metadata of a GGUF file as bytes, entry after entry. Failures are sticky, as those of pare_string are. */
#include <string.h>

#include "format/format.h"

void pare_gguf_push_number(pare_string *bytes, uint64_t value, size_t n) {
    char text[8];
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(value >> (8 * i));
    pare_string_push(bytes, text, n);
}

void pare_gguf_push_text(pare_string *bytes, const char *text, size_t n) {
    pare_gguf_push_number(bytes, n, 8);
    pare_string_push(bytes, text, n);
}

bool pare_gguf_entries_have(const pare_gguf_entries *entries, const char *key, size_t length) {
    const char *line = entries->keys.data;
    for (const char *end; line && (end = strchr(line, '\n')); line = end + 1)
        if ((size_t)(end - line) == length && memcmp(line, key, length) == 0)
            return true;
    return false;
}

static void begin(pare_gguf_entries *entries, const char *key, size_t length, pare_gguf_type type) {
    pare_string_push(&entries->keys, key, length);
    pare_string_push(&entries->keys, "\n", 1);
    pare_gguf_push_text(&entries->bytes, key, length);
    pare_gguf_push_number(&entries->bytes, type, 4);
    entries->n++;
}

void pare_gguf_put_u32(pare_gguf_entries *entries, const char *key, uint32_t value) {
    begin(entries, key, strlen(key), PARE_GGUF_U32);
    pare_gguf_push_number(&entries->bytes, value, 4);
}

void pare_gguf_put_f32(pare_gguf_entries *entries, const char *key, double value) {
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    begin(entries, key, strlen(key), PARE_GGUF_F32);
    pare_gguf_push_number(&entries->bytes, bits, 4);
}

void pare_gguf_put_bool(pare_gguf_entries *entries, const char *key, bool value) {
    begin(entries, key, strlen(key), PARE_GGUF_BOOL);
    pare_gguf_push_number(&entries->bytes, value, 1);
}

void pare_gguf_put_string(pare_gguf_entries *entries, const char *key, const char *text, size_t length) {
    begin(entries, key, strlen(key), PARE_GGUF_STRING);
    pare_gguf_push_text(&entries->bytes, text, length);
}

static void begin_array(pare_gguf_entries *entries, const char *key, pare_gguf_type item, size_t n) {
    begin(entries, key, strlen(key), PARE_GGUF_ARRAY);
    pare_gguf_push_number(&entries->bytes, item, 4);
    pare_gguf_push_number(&entries->bytes, n, 8);
}

void pare_gguf_put_strings(pare_gguf_entries *entries, const char *key, const pare_piece *texts, size_t n) {
    begin_array(entries, key, PARE_GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        pare_gguf_push_text(&entries->bytes, texts[i].bytes, texts[i].length);
}

void pare_gguf_put_i32s(pare_gguf_entries *entries, const char *key, const int32_t *values, size_t n) {
    begin_array(entries, key, PARE_GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        pare_gguf_push_number(&entries->bytes, (uint32_t)values[i], 4);
}

void pare_gguf_put_value(pare_gguf_entries *entries, const char *key, size_t length, const pare_gguf_value *value) {
    begin(entries, key, length, value->type);
    if (value->type == PARE_GGUF_ARRAY) {
        pare_gguf_push_number(&entries->bytes, value->item, 4);
        pare_gguf_push_number(&entries->bytes, value->count, 8);
    }
    pare_string_push(&entries->bytes, (const char *)value->bytes, value->n_bytes);
}

bool pare_gguf_entries_check(const pare_gguf_entries *entries, pare_error *error) {
    return pare_string_check(&entries->bytes, error) && pare_string_check(&entries->keys, error);
}

void pare_gguf_entries_free(pare_gguf_entries *entries) {
    pare_string_free(&entries->bytes);
    pare_string_free(&entries->keys);
}
