/* pare methods: what there is to compress with, all or one; for a model, how much memory each would take. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "model.h"
#include "pare/compress.h"

typedef struct {
    uint32_t windows, length;
} methods_options;

static const char *needs(const pare_method *method) {
    return method->gradients    ? "a calibration text, gradients"
           : method->calibrated ? "a calibration text"
           : method->stochastic ? "a seed"
                                : "nothing but weights";
}

/* Where a checkpoint cut by the method can be run. Qwen2's class in vLLM and llama.cpp knows no head size of its own. */
static const char *loads_in(const pare_method *method) {
    if (method->compensate)
        return "transformers, vLLM, llama.cpp, as a Llama with biases";
    if (method->unit == PARE_UNIT_DIRECTIONS)
        return "pare alone, as factors; multiplied back: transformers, vLLM, llama.cpp";
    if (pare_unit_own_format(method->unit))
        return "pare alone, because of a rotation for each norm";
    if (method->unit == PARE_UNIT_FFN || method->unit == PARE_UNIT_LAYERS)
        return "transformers, vLLM, llama.cpp";
    return "transformers, vLLM, llama.cpp (a Qwen2: transformers)";
}

/* What --ratio is a share of. */
static const char *counted_by_ratio(pare_unit unit) {
    static const char *const counts[PARE_UNITS] = {
        [PARE_UNIT_FFN] = "the FFN neurons of each layer",
        [PARE_UNIT_GROUPS] = "the key-value heads of each layer",
        [PARE_UNIT_HEADS] = "the query heads of each key-value head",
        [PARE_UNIT_CHANNELS] = "the channels of the residual stream",
        [PARE_UNIT_COORDINATES] = "the coordinates of the residual stream",
        [PARE_UNIT_BLOCK_COORDINATES] = "the coordinates of the residual stream",
        [PARE_UNIT_LAYERS] = "the layers",
        [PARE_UNIT_SEVERAL] = "the weights outside of embeddings",
        [PARE_UNIT_DIRECTIONS] = "the weights of each matrix",
    };
    return counts[unit];
}

/* checkpoint NULL: of no model in particular. */
static bool memory_of(double *bytes, const pare_method *method, const pare_checkpoint *checkpoint, const methods_options *given,
                      const common *shared, pare_error *error) {
    const pare_windows windows = {.n = given->windows, .length = given->length};
    size_t most = 0;
    bool done =
        !checkpoint || pare_compress_memory(&most, method, checkpoint, method->calibrated ? &windows : NULL, &shared->context, error);
    *bytes = (double)most;
    return done;
}

static json_t *method_json(pare_json_doc *doc, const pare_method *m, double memory) {
    return pare_json_pack(doc, "{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:s, s:s, s:s*, s:o*}", "name", m->name, "unit",
                          pare_unit_name(m->unit), "ratio_counts", counted_by_ratio(m->unit), "summary", m->summary, "calibrated",
                          (int)m->calibrated, "gradients", (int)m->gradients, "stochastic", (int)m->stochastic, "loads_in", loads_in(m),
                          "source", m->source, "warning", m->warning, "memory_forecast_mib",
                          memory > 0 ? pare_json_number(doc, memory / 1048576.0) : NULL);
}

static void print_method(const pare_method *m, double memory) {
    printf("  %-20s %s\n  %-20s needs %s", m->name, m->summary, "", needs(m));
    if (memory > 0)
        printf(", %s of memory", human_bytes(memory));
    printf(". Its output loads in %s. Source: %s\n", loads_in(m), m->source);
}

static bool list_methods(pare_json_doc *doc, json_t *list, const pare_checkpoint *checkpoint, const methods_options *given,
                         const common *shared, pare_error *error) {
    for (int unit = 0; unit < PARE_UNITS; unit++) {
        if (!shared->json)
            printf("%s%s\n", unit ? "\n" : "", pare_unit_name((pare_unit)unit));
        for (const pare_method *const *m = pare_methods; *m; m++) {
            double memory;
            if ((*m)->unit != (pare_unit)unit)
                continue;
            if (!memory_of(&memory, *m, checkpoint, given, shared, error))
                return false;
            pare_json_append(doc, list, method_json(doc, *m, memory));
            if (!shared->json)
                print_method(*m, memory);
        }
    }
    return true;
}

/* ---- one method ---- */

static bool describe(const pare_method *m, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    if (shared->json)
        return print_json(method_json(&doc, m, 0), &doc, error);
    printf("%s: %s\n", m->name, m->summary);
    printf("  --ratio counts  %s\n", counted_by_ratio(m->unit));
    printf("  needs           %s\n", needs(m));
    printf("  output loads in %s\n", loads_in(m));
    printf("  source          %s\n", m->source);
    if (m->warning)
        printf("  warning         %s\n", m->warning);
    printf("  example         pare compress MODEL --method %s --ratio 0.2%s%s -o OUT\n", m->name, m->calibrated ? " --calibrate TEXT" : "",
           pare_unit_own_format(m->unit) ? " --own-format" : "");
    return true;
}

/* ---- all methods ---- */

static bool list_all(const char *model, const methods_options *given, const common *shared, pare_error *error) {
    pare_checkpoint *checkpoint = model ? open_model(model, shared, error) : NULL;
    pare_json_doc doc = {0};
    json_t *list = pare_json_array(&doc);
    bool done = (!model || checkpoint) && list_methods(&doc, list, checkpoint, given, shared, error) &&
                (!shared->json || print_json(pare_json_pack(&doc, "{s:O}", "methods", list), &doc, error));
    json_decref(list);
    pare_checkpoint_close(checkpoint);
    return done;
}

bool cmd_methods(int argc, char **argv, pare_error *error) {
    methods_options given = {.windows = 32, .length = 512};
    const option options[] = {
        {"windows", 0, OPTION_COUNT, "N", "number of calibration windows for the memory forecast (32)", &given.windows},
        {"length", 0, OPTION_COUNT, "N", "tokens in one calibration window (512)", &given.length},
        {0},
    };
    const command_face face = {
        .name = "methods",
        .usage = "[NAME | MODEL]",
        .about =
            "Lists the methods of pare compress and of studies: what each removes, by what score, what it needs, which programs load its\n"
            "output, and where it was published. With NAME, the command describes that method alone. With MODEL, it also prints how much\n"
            "memory each method needs on that model.",
        .example = "  pare methods\n  pare methods wanda-sp\n  pare methods demo/model.gguf",
        .options = options,
        .arguments_min = 0,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    if (n == 0 || pare_path_exists(arguments[0]))
        return list_all(n ? arguments[0] : NULL, &given, &shared, error);
    if (strcmp(arguments[0], "auto") == 0)
        return pare_fail(error, PARE_ERROR_USAGE,
                         "auto is no method of its own: pare compress --method auto takes the method that lost least in our measurements, "
                         "and prints which. pare methods lists the methods");
    const pare_method *method = strchr(arguments[0], '/') ? NULL : pare_method_find(arguments[0], error);
    if (method)
        return describe(method, &shared, error);
    return strchr(arguments[0], '/') ? list_all(arguments[0], &given, &shared, error) : false;
}
