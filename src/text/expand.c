/* expand: gzip by zlib and bzip2 by libbz2, all members of a file one behind the other, to bytes in memory and never more than asked for:
 * a few KiB can expand to many GiB. */
#include <bzlib.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "text_file.h"

enum { STEP_BYTES = 1 << 20 }; /* memory grows by this, or by half */

/* What both libraries are asked for: a step from the bytes at `in` to the room at `out`, both moved on. */
typedef enum { MORE, MEMBER_ENDS, DAMAGED, NO_MEMORY } outcome;
typedef struct {
    const uint8_t *in;
    size_t n_in;
    char *out;
    size_t n_out;
} stretch;

static unsigned clamp(size_t n) {
    return n > (1U << 30) ? 1U << 30 : (unsigned)n;
}

static outcome step_gzip(z_stream *z, stretch *s) {
    unsigned in = clamp(s->n_in), out = clamp(s->n_out);
    z->next_in = (Bytef *)(uintptr_t)s->in; /* zlib does not write there */
    z->avail_in = in;
    z->next_out = (Bytef *)s->out;
    z->avail_out = out;
    int code = inflate(z, Z_NO_FLUSH);
    s->in += in - z->avail_in, s->n_in -= in - z->avail_in;
    s->out += out - z->avail_out, s->n_out -= out - z->avail_out;
    return code == Z_STREAM_END ? MEMBER_ENDS : code == Z_OK || code == Z_BUF_ERROR ? MORE : code == Z_MEM_ERROR ? NO_MEMORY : DAMAGED;
}

static outcome step_bzip2(bz_stream *b, stretch *s) {
    unsigned in = clamp(s->n_in), out = clamp(s->n_out);
    b->next_in = (char *)(uintptr_t)s->in; /* neither does libbz2 */
    b->avail_in = in;
    b->next_out = s->out;
    b->avail_out = out;
    int code = BZ2_bzDecompress(b);
    s->in += in - b->avail_in, s->n_in -= in - b->avail_in;
    s->out += out - b->avail_out, s->n_out -= out - b->avail_out;
    return code == BZ_STREAM_END ? MEMBER_ENDS : code == BZ_OK ? MORE : code == BZ_MEM_ERROR ? NO_MEMORY : DAMAGED;
}

typedef struct {
    pare_kind kind;
    z_stream z;
    bz_stream b;
    bool open;
} reader;

static bool reader_open(reader *r) {
    r->z = (z_stream){0};
    r->b = (bz_stream){0};
    r->open = r->kind == PARE_KIND_GZIP ? inflateInit2(&r->z, 16 + MAX_WBITS) == Z_OK : BZ2_bzDecompressInit(&r->b, 0, 0) == BZ_OK;
    return r->open;
}

static void reader_close(reader *r) {
    if (!r->open)
        return;
    if (r->kind == PARE_KIND_GZIP)
        inflateEnd(&r->z);
    else
        BZ2_bzDecompressEnd(&r->b);
    r->open = false;
}

/* Not more than was asked for, and room for more. */
static bool make_room(pare_bytes *out, size_t most, const char *path, pare_error *error) {
    if (out->length > most)
        return pare_fail(
            error, PARE_ERROR_RANGE,
            "%s: it expands to more than %.0f MiB, more than a text of its size is likely to; decompress it to a file and look "
            "at that",
            path, (double)most / 1048576.0);
    if (out->length < out->capacity)
        return true;
    size_t more = out->length / 2 > STEP_BYTES ? out->length / 2 : STEP_BYTES;
    return pare_grow((void **)&out->data, &out->capacity, more < most - out->length ? out->length + more : most + 1, 1, error);
}

/* One member; *s stands behind it. */
static bool expand_member(pare_bytes *out, stretch *s, reader *r, size_t most, const char *path, pare_error *error) {
    const char *name = r->kind == PARE_KIND_GZIP ? "gzip" : "bzip2";
    if (!reader_open(r))
        return pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory for its %s data", path, name);
    for (;;) {
        if (!make_room(out, most, path, error))
            return false;
        s->out = out->data + out->length;
        s->n_out = out->capacity - out->length;
        size_t room = s->n_out, left = s->n_in;
        outcome o = r->kind == PARE_KIND_GZIP ? step_gzip(&r->z, s) : step_bzip2(&r->b, s);
        out->length += room - s->n_out;
        if (o == MEMBER_ENDS)
            return true;
        if (o == NO_MEMORY)
            return pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory for its %s data", path, name);
        if (o == DAMAGED)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: its %s data are damaged after %zu bytes of text", path, name, out->length);
        if (s->n_in == left && s->n_out == room)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: its %s data end too early, after %zu bytes of text: the file is cut short",
                             path, name, out->length);
    }
}

/* Zeros may fill up a file behind its last member; anything else there is not what the name says. */
static bool only_zeros(const stretch *s) {
    for (size_t i = 0; i < s->n_in; i++)
        if (s->in[i])
            return false;
    return true;
}

bool pare_expand(pare_bytes *out, pare_kind kind, const uint8_t *bytes, size_t n, size_t most, const char *path, pare_error *error) {
    reader r = {.kind = kind};
    stretch s = {.in = bytes, .n_in = n};
    bool done = true;
    while (done && s.n_in > 0 && !only_zeros(&s)) {
        if (s.in != bytes && pare_kind_of(s.in, s.n_in).kind != kind)
            done = pare_fail(error, PARE_ERROR_FORMAT, "%s: behind its compressed data are %zu bytes of something else", path, s.n_in);
        else
            done = expand_member(out, &s, &r, most, path, error);
        reader_close(&r);
    }
    return done && make_room(out, most, path, error);
}
