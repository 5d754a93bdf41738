/* pare version: which pare this is. */
#include <stdio.h>

#include "cli.h"

bool cmd_version(int argc, char **argv, pare_error *error) {
    pare_json_doc doc = {0};
    const command_face face = {
        .name = "version",
        .usage = "",
        .about = "Prints the version of this program.",
        .example = "  pare version",
        .arguments_max = 0,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    if (shared.json)
        return print_json(pare_json_pack(&doc, "{s:s}", "version", PARE_VERSION), &doc, error);
    printf("pare %s\n", PARE_VERSION);
    return true;
}
