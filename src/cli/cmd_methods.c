/* pare methods: what there is to compress with. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "pare/compress.h"

static const char *data_of(const pare_method *method) {
    return method->calibrated ? "a calibration text" : method->stochastic ? "a seed" : "none";
}

/* Where a checkpoint cut by the method can be run. Qwen2's class in vLLM and llama.cpp knows no head size of its own. */
static const char *loads_in(const pare_method *method) {
    if (method->compensate)
        return "transformers, vLLM, llama.cpp, as a Llama with biases";
    if (method->unit == PARE_UNIT_DIRECTIONS)
        return "pare, which alone multiplies with factors; multiplied back: transformers, vLLM, llama.cpp";
    if (method->unit == PARE_UNIT_FFN || method->unit == PARE_UNIT_LAYERS)
        return "transformers, vLLM, llama.cpp";
    return "transformers, vLLM, llama.cpp (a Qwen2: transformers)";
}

static json_t *method_json(const pare_method *m) {
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:s*}", "name", m->name, "unit", pare_unit_name(m->unit), "summary", m->summary,
                     "calibrated", (int)m->calibrated, "stochastic", (int)m->stochastic, "loads_in", loads_in(m), "source", m->source,
                     "warning", m->warning);
}

bool cmd_methods(int argc, char **argv, pare_error *error) {
    const option options[] = {{0}};
    const command_face face = {
        .name = "methods",
        .usage = "",
        .about =
            "The methods of pare compress and of studies: what each removes, by what score, what it needs, where its output loads, and\n"
            "where it was published.",
        .example = "  pare methods",
        .options = options,
        .arguments_min = 0,
        .arguments_max = 0,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    json_t *list = json_array();
    for (int unit = 0; unit < PARE_UNITS; unit++) {
        if (!shared.json)
            printf("%s%s\n", unit ? "\n" : "", pare_unit_name((pare_unit)unit));
        for (const pare_method *const *m = pare_methods; *m; m++) {
            if ((*m)->unit != (pare_unit)unit)
                continue;
            json_array_append_new(list, method_json(*m));
            if (!shared.json)
                printf("  %-20s %s\n  %-20s needs %s; loads in %s; %s\n", (*m)->name, (*m)->summary, "", data_of(*m), loads_in(*m),
                       (*m)->source);
        }
    }
    if (shared.json)
        return print_json(json_pack("{s:o}", "methods", list), error);
    json_decref(list);
    return true;
}
