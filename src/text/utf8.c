/* utf8: bytes to well-formed UTF-8. Ill-formed input becomes U+FFFD, one for each maximal subpart (Unicode 15, section 3.9,
 * table 3-7 and "U+FFFD substitution of maximal subparts"), which is what Python's errors="replace" does. */
#include <string.h>

#include "tokenizer.h"

bool pare_bytes_push(pare_bytes *bytes, const void *data, size_t n, pare_error *error) {
    if (!pare_grow((void **)&bytes->data, &bytes->capacity, bytes->length + n, 1, error))
        return false;
    if (n)
        memcpy(bytes->data + bytes->length, data, n);
    bytes->length += n;
    return true;
}

/* Length of the well-formed character at `text`, or minus the length of the ill-formed subpart there. */
static int character(const uint8_t *text, size_t n) {
    uint8_t lead = text[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return -1;
    int length = (int)pare_utf8_length(lead);
    /* Only the second byte's range depends on the lead: no overlong forms, no surrogates, nothing above U+10FFFF. */
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (int i = 1; i < length; i++) {
        if ((size_t)i >= n || text[i] < low || text[i] > high)
            return -i;
        low = 0x80, high = 0xBF;
    }
    return length;
}

size_t pare_utf8_valid(const uint8_t *text, size_t n) {
    size_t at = 0;
    while (at < n) {
        uint64_t eight;
        if (n - at >= sizeof eight && (memcpy(&eight, text + at, sizeof eight), !(eight & 0x8080808080808080U))) {
            at += sizeof eight;
            continue;
        }
        int length = character(text + at, n - at);
        if (length < 0)
            break;
        at += (size_t)length;
    }
    return at;
}

size_t pare_utf8_ill_formed(const uint8_t *text, size_t n) {
    int length = character(text, n);
    return length < 0 ? (size_t)-length : 1;
}

bool pare_utf8_replace(pare_bytes *out, const uint8_t *text, size_t n, pare_error *error) {
    for (size_t at = 0; at < n;) {
        size_t valid = pare_utf8_valid(text + at, n - at);
        if (!pare_bytes_push(out, text + at, valid, error))
            return false;
        at += valid;
        if (at == n)
            break;
        at += pare_utf8_ill_formed(text + at, n - at);
        if (!pare_bytes_push(out, "\xEF\xBF\xBD", 3, error))
            return false;
    }
    return true;
}

size_t pare_utf8_encode(char out[4], uint32_t point) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(leads[length] | point);
    return length;
}
