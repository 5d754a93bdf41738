/* pare info: what a checkpoint holds, how large it is, and what can be cut. */
#include <stdio.h>

#include "cli.h"
#include "made.h"
#include "model.h"
#include "pare/compress.h"

/* Bytes and tensors of each stored type. */
typedef struct {
    uint64_t bytes[PARE_DTYPE_COUNT];
    size_t n[PARE_DTYPE_COUNT];
} by_type;

static by_type count_types(const pare_checkpoint *checkpoint) {
    by_type types = {0};
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        types.bytes[checkpoint->tensors[i].dtype] += checkpoint->tensors[i].n_bytes;
        types.n[checkpoint->tensors[i].dtype]++;
    }
    return types;
}

static json_t *shape_json(pare_json_doc *doc, const pare_tensor *tensor) {
    json_t *shape = pare_json_array(doc);
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        pare_json_append(doc, shape, pare_json_integer(doc, (json_int_t)tensor->dims[i]));
    return shape;
}

static const char *rope_name(pare_rope_type type) {
    static const char *const names[] = {"default", "linear", "llama3", "factors"};
    return names[type];
}

static json_t *config_json(pare_json_doc *doc, const pare_config *c) {
    return pare_json_pack(doc, "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:s, s:b, s:b, s:b, s:i}", "num_hidden_layers",
                          (int)c->n_layers, "hidden_size", (int)c->width, "intermediate_size", (int)c->ffn_width, "num_attention_heads",
                          (int)c->n_heads, "num_key_value_heads", (int)c->n_kv_heads, "head_dim", (int)c->head_dim, "vocab_size",
                          (int)c->vocabulary, "max_position_embeddings", (int)c->max_positions, "rms_norm_eps",
                          pare_json_number(doc, c->rms_eps), "rope_theta", pare_json_number(doc, c->rope.theta), "rope_type",
                          rope_name(c->rope.type), "tie_word_embeddings", (int)c->tied, "attention_bias", (int)c->attention_bias,
                          "shortcuts", (int)c->shortcuts, "sliding_window", (int)c->sliding_window);
}

static json_t *unit_json(pare_json_doc *doc, const pare_checkpoint *checkpoint, pare_unit unit) {
    pare_plan whole = {0}; /* of a cut that takes nothing */
    json_t *methods = pare_json_array(doc);
    for (const pare_method *const *m = pare_methods; *m; m++)
        if ((*m)->unit == unit && pare_plan_make(&whole, unit, &checkpoint->config, 0, 1, NULL))
            pare_json_append(doc, methods, pare_json_string(doc, (*m)->name));
    return pare_json_pack(doc, "{s:s, s:i, s:i, s:o}", "unit", pare_unit_name(unit), "units", (int)whole.n_units, "rows", (int)whole.n_rows,
                          "methods", methods);
}

/* Of a head that is the embedding stored again; left out of all others. */
static json_t *likeness_json(pare_json_doc *doc, const pare_head_likeness *likeness) {
    return likeness->same
               ? pare_json_pack(doc, "{s:f, s:I}", "distance", likeness->distance, "parameters", (json_int_t)likeness->parameters)
               : NULL;
}

static json_t *info_json(pare_json_doc *doc, const pare_checkpoint *checkpoint, const pare_head_likeness *likeness, bool with_tensors) {
    pare_size size = pare_checkpoint_size(checkpoint, NULL);
    by_type types = count_types(checkpoint);
    json_t *bytes = pare_json_object(doc), *units = pare_json_array(doc), *tensors = NULL;
    for (int i = 0; i < PARE_DTYPE_COUNT; i++)
        if (types.n[i])
            pare_json_set(doc, bytes, pare_dtype_info((pare_dtype)i)->name, pare_json_integer(doc, (json_int_t)types.bytes[i]));
    for (int unit = 0; unit < PARE_UNITS; unit++)
        pare_json_append(doc, units, unit_json(doc, checkpoint, (pare_unit)unit));
    if (with_tensors) {
        tensors = pare_json_array(doc);
        for (size_t i = 0; i < checkpoint->n_tensors; i++) {
            const pare_tensor *t = &checkpoint->tensors[i];
            pare_json_append(doc, tensors,
                             pare_json_pack(doc, "{s:s, s:s, s:o, s:I}", "name", t->name, "type", pare_dtype_info(t->dtype)->name, "shape",
                                            shape_json(doc, t), "bytes", (json_int_t)t->n_bytes));
        }
    }
    return pare_json_pack(doc, "{s:s, s:s, s:s, s:o, s:{s:I, s:I}, s:I, s:I, s:I, s:o, s:s?, s:o*, s:o*, s:o, s:o*}", "model",
                          checkpoint->path, "format", checkpoint->format == PARE_FORMAT_GGUF ? "gguf" : "hf", "architecture",
                          pare_arch_name(checkpoint->config.arch), "config", config_json(doc, &checkpoint->config), "parameters", "total",
                          (json_int_t)size.parameters, "non_embedding", (json_int_t)size.non_embedding, "bytes", (json_int_t)size.bytes,
                          "file_bytes", (json_int_t)checkpoint->file_bytes, "macs_per_token", (json_int_t)size.macs, "bytes_by_type", bytes,
                          "tokenizer_missing", checkpoint->tokenizer ? NULL : checkpoint->tokenizer_missing, "head_is_embedding",
                          likeness_json(doc, likeness), "made", pare_checkpoint_made(doc, checkpoint, false), "can_be_cut", units,
                          "tensors", tensors);
}

static void print_factors(const pare_config *c) {
    uint32_t n = 0, least = UINT32_MAX, most = 0;
    for (uint32_t i = 0; i < c->n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            uint32_t rank = pare_config_rank(c, i, (pare_projection)p);
            n += rank > 0;
            least = rank && rank < least ? rank : least;
            most = rank > most ? rank : most;
        }
    if (n)
        printf("  factors     %u of %u matrices are products of two, of rank %u to %u\n", n, c->n_layers * PARE_PROJECTIONS, least, most);
}

static void print_config(const pare_checkpoint *checkpoint, const pare_head_likeness *likeness) {
    const pare_config *c = &checkpoint->config;
    printf("%s: %s, %s, weights mostly %s\n", checkpoint->path, pare_arch_name(c->arch),
           checkpoint->format == PARE_FORMAT_GGUF ? "GGUF" : "Hugging Face folder", pare_dtype_info(checkpoint->dtype)->name);
    printf("  layers      %u of width %u, FFN %u, %u query and %u key-value heads of %u\n", c->n_layers, c->width, c->ffn_width, c->n_heads,
           c->n_kv_heads, c->head_dim);
    print_factors(c);
    if (c->shortcuts)
        printf("  shortcuts   two matrices of %u x %u in each layer take the residual stream from norm to norm\n", c->width, c->width);
    printf("  vocabulary  %s%s\n", human_count(c->vocabulary), c->tied ? ", head tied to the embedding" : ", head of its own");
    if (likeness->same)
        printf("  head        the embedding stored a second time (%.2g %% apart): %s weights; compress --tie and export --tie write one "
               "matrix "
               "for both\n",
               100 * likeness->distance, human_count(likeness->parameters));
    printf("  positions   %s, rotary base %g (%s)%s\n", human_count(c->max_positions), c->rope.theta, rope_name(c->rope.type),
           c->attention_bias ? ", biased q k v" : "");
    if (!checkpoint->tokenizer)
        printf("  tokenizer   none: %s\n", checkpoint->tokenizer_missing);
}

static void print_unit(const pare_checkpoint *checkpoint, pare_unit unit) {
    const pare_config *c = &checkpoint->config;
    pare_plan whole;
    char place[64];
    if (!pare_plan_make(&whole, unit, c, 0, 1, NULL))
        return;
    printf("  %s%u %s%s, by", unit == 0 ? "can be cut  " : "            ", whole.n_units, pare_unit_name(unit),
           pare_unit_place(place, unit, c));
    const char *before = " ";
    for (const pare_method *const *m = pare_methods; *m; m++)
        if ((*m)->unit == unit) {
            printf("%s%s", before, (*m)->name);
            before = ", ";
        }
    printf("\n");
}

static void print_size(const pare_checkpoint *checkpoint) {
    pare_size size = pare_checkpoint_size(checkpoint, NULL);
    by_type types = count_types(checkpoint);
    printf("  parameters  %s, of them %s outside of embeddings\n", human_count(size.parameters), human_count(size.non_embedding));
    printf("  MACs        %s per token (without attention scores)\n", human_count(size.macs));
    for (int i = 0; i < PARE_DTYPE_COUNT; i++)
        if (types.n[i])
            printf("  %-11s %s in %zu tensors\n", pare_dtype_info((pare_dtype)i)->name, human_bytes((double)types.bytes[i]), types.n[i]);
    for (int unit = 0; unit < PARE_UNITS; unit++)
        print_unit(checkpoint, (pare_unit)unit);
}

static void print_tensors(const pare_checkpoint *checkpoint) {
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const pare_tensor *t = &checkpoint->tensors[i];
        char shape[96] = "";
        for (uint32_t d = 0, at = 0; d < t->n_dims; d++)
            at += (uint32_t)snprintf(shape + at, sizeof shape - at, "%s%llu", d ? " x " : "", (unsigned long long)t->dims[d]);
        printf("%-5s %-16s %10s  %s\n", pare_dtype_info(t->dtype)->name, shape, human_bytes((double)t->n_bytes), t->name);
    }
}

bool cmd_info(int argc, char **argv, pare_error *error) {
    pare_json_doc doc = {0};
    bool tensors = false;
    const option options[] = {{"tensors", 0, OPTION_FLAG, NULL, "list every tensor with its type, shape and size", &tensors}, {0}};
    const command_face face = {
        .name = "info",
        .usage = "MODEL [--tensors]",
        .about = "Prints the architecture, the shapes, the number of parameters, the bytes by tensor type, the multiply-accumulates per\n"
                 "token, and what can be cut.",
        .example = "  pare info demo/model.gguf",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    pare_checkpoint *checkpoint = open_model(arguments[0], &shared, error);
    if (!checkpoint)
        return false;
    pare_head_likeness likeness;
    bool done = pare_head_compare(&likeness, checkpoint, error);
    if (done && pare_tokenizer_note(checkpoint->tokenizer))
        pare_context_note(&shared.context, "%s", pare_tokenizer_note(checkpoint->tokenizer));
    if (done && shared.json) {
        done = print_json(info_json(&doc, checkpoint, &likeness, tensors), &doc, error);
    } else if (done) {
        print_config(checkpoint, &likeness);
        made_print(checkpoint);
        print_size(checkpoint);
        if (tensors)
            print_tensors(checkpoint);
    }
    pare_checkpoint_close(checkpoint);
    return done;
}
