/* tokenizer_write: a tokenizer.json that the `tokenizers` package loads and that gives the same ids. One that was opened from
 * a tokenizer.json is given back byte for byte. */
#include <stdlib.h>
#include <string.h>

#include "pare/json.h"
#include "tokenizer.h"

bool pare_tokenizer_print_json(pare_string *out, const pare_tokenizer *tokenizer, pare_error *error) {
    if (!tokenizer->json.bytes)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: not written yet", tokenizer->what);
    pare_string_push(out, tokenizer->json.bytes, tokenizer->json.length);
    return pare_string_check(out, error);
}
