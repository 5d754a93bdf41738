/* million_tokens: recovery tokens as people write them ("50k", "0.5M") -> D of a law, which counts millions. */
#include <string.h>

#include "cli.h"

bool tokens_parse(double *d, const char *text, pare_error *error) {
    uint64_t tokens = 0;
    if (text && strcmp(text, "0") != 0 && !pare_count_parse(&tokens, text))
        return pare_fail(error, PARE_ERROR_USAGE, "--tokens \"%s\": a number of tokens like 0, 50000, 0.5M or 1G", text);
    *d = (double)tokens / 1e6;
    return true;
}
