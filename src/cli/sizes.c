/* sizes: see sizes.h. */
#include "sizes.h"

#include <stdio.h>

const pare_dtype sizes_types[SIZES_QUANTISED] = {PARE_DTYPE_Q8_0, PARE_DTYPE_Q4_0};

/* ---- taking ---- */

static bool bytes_left(uint64_t *bytes, const sizes *s, const pare_plan *plan, const pare_cut *cut, pare_dtype type, bool whole,
                       pare_error *error) {
    if (!cut)
        return pare_plan_bytes(bytes, plan, &s->checkpoint->config, type, whole, error);
    pare_config left = cut->config;
    left.ranks = whole ? NULL : left.ranks;
    *bytes = pare_config_bytes(&left, type);
    return true;
}

/* Whether pare export takes what is left: one shape for all layers, and no matrix that llama.cpp does not know. */
static bool can_export(const pare_plan *plan, const pare_cut *cut) {
    return cut ? !cut->config.shapes && !cut->config.shortcuts : plan->unit != PARE_UNIT_BLOCK_COORDINATES || pare_plan_keeps_all(plan);
}

bool sizes_take(sizes *s, const pare_checkpoint *checkpoint, const pare_plan *plan, const pare_cut *cut, pare_dtype type, bool whole,
                pare_error *error) {
    *s = (sizes){.checkpoint = checkpoint, .type = type, .source = pare_checkpoint_size(checkpoint, NULL).bytes};
    bool done = bytes_left(&s->output, s, plan, cut, type, whole, error), exported = can_export(plan, cut);
    pare_config uncut = checkpoint->config;
    uncut.ranks = NULL; /* GGUF knows no factors */
    for (int i = 0; done && i < SIZES_QUANTISED; i++) {
        s->uncut[i] = pare_config_bytes(&uncut, sizes_types[i]);
        done = !exported || bytes_left(&s->cut[i], s, plan, cut, sizes_types[i], true, error);
    }
    return done;
}

/* The finest quantised type in which the uncut model is smaller than both the output and the source, or SIZES_QUANTISED. */
static int smaller_uncut(const sizes *s) {
    for (int i = 0; i < SIZES_QUANTISED; i++)
        if (s->uncut[i] < s->output && s->uncut[i] < s->source)
            return i;
    return SIZES_QUANTISED;
}

/* ---- telling ---- */

static json_t *as_types(pare_json_doc *doc, json_t *json, const uint64_t bytes[SIZES_QUANTISED]) {
    for (int i = 0; i < SIZES_QUANTISED; i++)
        pare_json_set(doc, json, pare_dtype_info(sizes_types[i])->name, bytes[i] ? pare_json_integer(doc, (int64_t)bytes[i]) : json_null());
    return json;
}

static json_t *typed(pare_json_doc *doc, pare_dtype type, uint64_t bytes) {
    return pare_json_pack(doc, "{s:s, s:I}", "type", pare_dtype_info(type)->name, "bytes", (json_int_t)bytes);
}

json_t *sizes_json(pare_json_doc *doc, const sizes *s) {
    int better = smaller_uncut(s);
    json_t *source = as_types(doc, typed(doc, s->checkpoint->dtype, s->source), s->uncut);
    json_t *output = as_types(doc, typed(doc, s->type, s->output), s->cut);
    return pare_json_pack(doc, "{s:o, s:o, s:o*}", "source", source, "output", output, "smaller_uncut",
                          better < SIZES_QUANTISED ? typed(doc, sizes_types[better], s->uncut[better]) : NULL);
}

static void print_line(const char *name, uint64_t bytes, pare_dtype type, const char *which, const uint64_t as[SIZES_QUANTISED]) {
    printf("%s: %s of weights as %s", name, human_bytes((double)bytes), pare_dtype_info(type)->name);
    for (int i = 0; as[0] && i < SIZES_QUANTISED; i++)
        printf("%s%s as %s", i ? ", " : which, human_bytes((double)as[i]), pare_dtype_info(sizes_types[i])->name);
    printf("%s\n", as[0] ? ")" : "");
}

void sizes_print(const sizes *s, const char *out) {
    const char *source = s->checkpoint->path;
    int better = smaller_uncut(s);
    print_line(out ? out : "would be written", s->output, s->type, " (exported to GGUF: ", s->cut);
    print_line("source", s->source, s->checkpoint->dtype, " (uncut, exported to GGUF: ", s->uncut);
    if (s->output > s->source)
        printf("The output %s larger than the source.\n", out ? "is" : "would be");
    if (better < SIZES_QUANTISED) {
        const char *type = pare_dtype_info(sizes_types[better])->name;
        printf("The uncut model as %s is smaller than the output: pare export %s --type %s -o OUT.gguf. Compare both with pare eval.\n",
               type, source, type);
    }
}
