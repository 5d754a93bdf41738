/* arguments: a command line is text. Paths stand in JSON, in ledgers and in pare.json, which hold UTF-8 and nothing else; a name of other
 * bytes is refused before the work begins, and not after it. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

/* Bytes of the well-formed character at `text` (Unicode 15, table 3-7); 0: there is none. */
static int character(const unsigned char *text) {
    unsigned char lead = text[0], low = 0x80, high = 0xBF;
    int length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length > 1 && (lead < 0xC2 || lead > 0xF4))
        return 0;
    low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : low; /* no overlong forms, no surrogates, nothing above U+10FFFF */
    high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : high;
    for (int i = 1; i < length; i++, low = 0x80, high = 0xBF)
        if (text[i] < low || text[i] > high) /* a NUL ends it */
            return 0;
    return length;
}

/* The argument with its odd bytes spelled out. */
static void spell(pare_string *spelled, const char *argument) {
    for (const unsigned char *at = (const unsigned char *)argument; *at;) {
        int n = character(at);
        if (n > 0)
            pare_string_push(spelled, (const char *)at, (size_t)n);
        else
            pare_string_print(spelled, "\\x%02x", *at);
        at += n > 0 ? n : 1;
    }
}

bool arguments_check(int argc, char **argv, pare_error *error) {
    for (int i = 1; i < argc; i++) {
        const unsigned char *at = (const unsigned char *)argv[i];
        for (int n = 1; *at && n > 0; at += n)
            n = character(at);
        if (!*at)
            continue;
        pare_string spelled = {0};
        spell(&spelled, argv[i]);
        pare_fail(error, PARE_ERROR_USAGE,
                  "argument %d, \"%.600s\", is not UTF-8: pare keeps names in JSON, which is; rename the file or folder", i,
                  spelled.data ? spelled.data : "");
        pare_string_free(&spelled);
        return false;
    }
    return true;
}
