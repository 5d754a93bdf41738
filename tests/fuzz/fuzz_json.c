/* Any bytes as JSON: what the strict reader takes, the lenient one takes alike and finds nothing odd in; what either takes is printed as
 * JSON that the strict reader takes, and that prints the same again. */
#include <stdlib.h>
#include <string.h>

#include "pare/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void print_twice(const json_t *json) {
    pare_error error = {0};
    pare_string once = {0}, twice = {0};
    if (!pare_json_print(&once, json, NULL, &error))
        abort();
    json_t *back = pare_json_parse(once.data, once.length, "printed", &error);
    if (!back || !pare_json_print(&twice, back, NULL, &error) || once.length != twice.length ||
        memcmp(once.data, twice.data, once.length) != 0)
        abort();
    json_decref(back);
    pare_string_free(&once);
    pare_string_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    pare_error error = {0};
    pare_json_odd odd = {0}, none = {0};
    json_t *strict = pare_json_parse((const char *)bytes, n, "fuzz.json", &error);
    json_t *lenient = pare_json_parse_lenient((const char *)bytes, n, "fuzz.json", n % 2 == 0, &odd, &error);
    if (strict && (!json_equal(strict, lenient) || memcmp(&odd, &none, sizeof odd) != 0))
        abort();
    if (lenient)
        print_twice(lenient);
    json_decref(strict);
    json_decref(lenient);
    return 0;
}
