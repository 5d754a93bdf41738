/* pare tokenizer train: a byte-level BPE tokenizer learnt from texts, as the files that other programs load. */
#include <stdio.h>
#include <string.h>

#include "destination.h"
#include "pare/text.h"

typedef struct {
    option_list data, special;
    const char *pre, *out;
    uint32_t vocabulary, min_frequency;
    bool force, replace; /* replace: something is there that goes */
} train_options;

/* Everything one training holds; released by release(). */
typedef struct {
    pare_string special_text; /* the special tokens, each with a NUL */
    pare_piece special[ARGUMENTS_MAX];
    size_t n_special;
    pare_json_doc doc; /* of files */
    json_t *files;     /* path, bytes, sha256 of each */
    pare_string hashes;
    pare_bpe_trainer *trainer;
    pare_tokenizer *tokenizer;
    pare_bpe_summary summary;
    uint64_t n_texts;
    double begin;
} training;

static void release(training *t) {
    pare_tokenizer_close(t->tokenizer);
    pare_bpe_trainer_close(t->trainer);
    pare_string_free(&t->special_text);
    pare_string_free(&t->hashes);
    json_decref(t->files);
}

/* ---- options ---- */

static const struct {
    const char *name, *known; /* known: in pare_tokenizer_parts */
} pre_tokenisers[] = {{"smollm", "smollm"}, {"gpt2", "gpt-2"}, {"llama3", "llama-bpe"}, {"qwen2", "qwen2"}};

static const char *find_pre(const char *name, pare_error *error) {
    for (size_t i = 0; i < sizeof pre_tokenisers / sizeof *pre_tokenisers; i++)
        if (strcmp(name, pre_tokenisers[i].name) == 0)
            return pre_tokenisers[i].known;
    pare_fail(error, PARE_ERROR_USAGE, "--pre %s: there are smollm, gpt2, llama3 and qwen2", name);
    return NULL;
}

/* "a,b" and "c" are three tokens. */
static bool split_special(training *t, const option_list *given, pare_error *error) {
    for (size_t i = 0; i < given->n; i++) {
        for (const char *at = given->items[i], *end;; at = end + 1) {
            end = strchr(at, ',');
            size_t length = end ? (size_t)(end - at) : strlen(at);
            if (t->n_special == ARGUMENTS_MAX)
                return pare_fail(error, PARE_ERROR_USAGE, "--special: more than %d tokens", ARGUMENTS_MAX);
            t->special[t->n_special++] = (pare_piece){at, length};
            if (!end)
                break;
        }
    }
    if (t->n_special == 0)
        t->special[t->n_special++] = (pare_piece){"<|endoftext|>", 13};
    return true;
}

static bool open_trainer(training *t, const train_options *given, pare_error *error) {
    const char *pre = find_pre(given->pre, error);
    if (!pre || !split_special(t, &given->special, error))
        return false;
    const pare_bpe_options options = {.pre = pre,
                                      .special = t->special,
                                      .n_special = t->n_special,
                                      .vocabulary = given->vocabulary,
                                      .min_frequency = given->min_frequency};
    t->trainer = pare_bpe_trainer_open(&options, error);
    if (!t->trainer && error->code == PARE_ERROR_RANGE)
        error->code = PARE_ERROR_USAGE;
    return t->trainer != NULL;
}

/* ---- texts ---- */

static bool feed_file(training *t, const char *path, const common *shared, pare_error *error) {
    pare_bpe_file file;
    if (!pare_bpe_trainer_feed_file(&file, t->trainer, path, &shared->context, error))
        return false;
    t->n_texts += file.documents;
    pare_string_print(&t->hashes, "%s\n", file.sha256.hex);
    pare_json_append(&t->doc, t->files,
                     pare_json_pack(&t->doc, "{s:s, s:I, s:s}", "path", path, "bytes", (json_int_t)file.bytes, "sha256", file.sha256.hex));
    return true;
}

static bool feed_all(training *t, const option_list *data, const common *shared, pare_error *error) {
    t->files = pare_json_array(&t->doc);
    for (size_t i = 0; i < data->n; i++)
        if (!feed_file(t, data->items[i], shared, error))
            return false;
    return pare_string_check(&t->hashes, error) && pare_json_check(&t->doc, error);
}

/* ---- output ---- */

/* What transformers' AutoTokenizer wants beside the tokenizer itself: the first special token begins and ends texts. */
static json_t *config_json(pare_json_doc *doc, const training *t) {
    json_t *role = pare_json_text(doc, t->special[0].bytes, t->special[0].length);
    json_t *config = pare_json_pack(doc, "{s:s, s:O, s:O, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "bos_token", role,
                                    "eos_token", role, "add_bos_token", 0, "clean_up_tokenization_spaces", 0);
    json_decref(role);
    return config;
}

static bool write_in(const char *folder, const char *name, const pare_string *text, pare_error *error) {
    pare_string path = {0};
    pare_string_print(&path, "%s/%s", folder, name);
    bool done = pare_string_check(&path, error) && pare_file_write(path.data, text->data, text->length, true, error);
    pare_string_free(&path);
    return done;
}

static bool write_folder(const train_options *given, const pare_string *tokenizer, const pare_string *config, pare_error *error) {
    pare_folder *folder = pare_folder_open(given->out, given->replace, error);
    return folder && pare_folder_close(folder,
                                       write_in(pare_folder_path(folder), "tokenizer.json", tokenizer, error) &&
                                           write_in(pare_folder_path(folder), "tokenizer_config.json", config, error),
                                       error);
}

static bool is_file_name(const char *out) {
    size_t n = strlen(out);
    return n > 5 && strcmp(out + n - 5, ".json") == 0 && !pare_path_is_folder(out);
}

static bool write_out(const training *t, const train_options *given, pare_error *error) {
    pare_json_doc doc = {0};
    pare_string tokenizer = {0}, config = {0};
    json_t *json = config_json(&doc, t);
    bool done = pare_json_print(&config, json, &doc, error);
    done = done && pare_tokenizer_print_json(&tokenizer, t->tokenizer, error) &&
           (is_file_name(given->out) ? pare_file_write(given->out, tokenizer.data, tokenizer.length, given->replace, error)
                                     : write_folder(given, &tokenizer, &config, error));
    json_decref(json);
    pare_string_free(&tokenizer);
    pare_string_free(&config);
    return done;
}

static json_t *summary_json(pare_json_doc *doc, const training *t, const train_options *given, double bytes_per_token, const char *sha256) {
    json_t *special = pare_json_array(doc);
    for (size_t i = 0; i < t->n_special; i++)
        pare_json_append(doc, special, pare_json_text(doc, t->special[i].bytes, t->special[i].length));
    return pare_json_pack(doc, "{s:s, s:s, s:I, s:I, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:s, s:O}", "version",
                          PARE_VERSION, "output", given->out, "vocabulary", (json_int_t)t->summary.vocabulary, "merges",
                          (json_int_t)t->summary.merges, "special", special, "pre", given->pre, "min_frequency",
                          (json_int_t)given->min_frequency, "texts", (json_int_t)t->n_texts, "bytes", (json_int_t)t->summary.bytes, "words",
                          (json_int_t)t->summary.words, "different_words", (json_int_t)t->summary.different_words, "tokens",
                          (json_int_t)t->summary.tokens, "bytes_per_token", bytes_per_token, "seconds", pare_clock_s() - t->begin,
                          "max_rss_mib", pare_memory_peak_mib(), "sha256", sha256, "data", t->files);
}

static bool print_result(const training *t, const train_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    const pare_bpe_summary *s = &t->summary;
    double bytes_per_token = s->tokens ? (double)s->bytes / (double)s->tokens : 0;
    pare_sha256 hash = {.hex = ""};
    if (json_array_size(t->files) == 1) /* one file: its own; several: of the list of theirs, one a line */
        memcpy(hash.hex, t->hashes.data, 64);
    else if (!pare_sha256_bytes(&hash, t->hashes.data, t->hashes.length, error))
        return false;
    if (s->vocabulary < given->vocabulary)
        say(shared, "note: the text gives %s tokens, not %s: no further pair occurs %u times", human_count(s->vocabulary),
            human_count(given->vocabulary), given->min_frequency > 1 ? given->min_frequency : 1);
    if (shared->json)
        return print_json(summary_json(&doc, t, given, bytes_per_token, hash.hex), &doc, error);
    progress_end();
    printf("%s tokens: %zu special, 256 bytes, %s merges; from %s bytes with %s different words\n", human_count(s->vocabulary),
           t->n_special, human_count(s->merges), human_count(s->bytes), human_count(s->different_words));
    printf("%.3f bytes a token on this text; %.2f s: %s\n", bytes_per_token, pare_clock_s() - t->begin, given->out);
    return true;
}

/* ---- the command ---- */

static bool check_options(train_options *given, pare_error *error) {
    if (given->data.n == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--data FILE is missing");
    if (given->vocabulary == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--vocab N is missing: the size of the vocabulary");
    if (!given->out)
        return pare_fail(error, PARE_ERROR_USAGE, "-o OUT is missing: a folder to make, or a file name that ends in .json");
    reads_all(&given->data);
    return destination_check(&given->replace, given->out, is_file_name(given->out) ? &destination_file : &destination_tokenizer,
                             given->force, error);
}

static bool train(train_options *given, const common *shared, pare_error *error) {
    training t = {.begin = pare_clock_s()};
    bool done = check_options(given, error) && open_trainer(&t, given, error) && feed_all(&t, &given->data, shared, error) &&
                (t.tokenizer = pare_bpe_trainer_finish(&t.summary, t.trainer, &shared->context, error)) && write_out(&t, given, error) &&
                print_result(&t, given, shared, error);
    release(&t);
    return done;
}

bool cmd_tokenizer(int argc, char **argv, pare_error *error) {
    train_options given = {.pre = "smollm", .min_frequency = 2};
    const option options[] = {
        {"data", 'd', OPTION_LIST, "FILE", "a text to learn from, or several: plain (also gzip, bzip2) or JSON rows", &given.data},
        {"vocab", 'v', OPTION_COUNT, "N", "size of the vocabulary, with the special tokens and the 256 bytes", &given.vocabulary},
        {"output", 'o', OPTION_STRING, "OUT", "the folder to write, or a file name that ends in .json", &given.out},
        {"pre", 0, OPTION_STRING, "P", "pre-tokeniser, which splits text into words: smollm (default), gpt2, llama3 or qwen2", &given.pre},
        {"special", 0, OPTION_LIST, "TOKENS", "special tokens, separated by commas; the option may be repeated (<|endoftext|>)",
         &given.special},
        {"min-frequency", 0, OPTION_COUNT, "N", "a pair is merged only if it occurs at least N times (2)", &given.min_frequency},
        OPTION_FORCE('f', &given.force),
        {0},
    };
    const command_face face = {
        .name = "tokenizer",
        .usage = "train --data FILE… --vocab N -o OUT",
        .about =
            "Trains a byte-level BPE tokenizer with the same merges that the Hugging Face tokenizers package learns from the same texts.\n"
            "It writes tokenizer.json, and in a folder also tokenizer_config.json, which that package, transformers and pare load.\n"
            "A plain file is one text. In JSON rows (.jsonl, .json), \"text\", \"prompt\", \"response\" and each of the \"messages\" are "
            "a\n"
            "text of their own. No token crosses the end of a text. The first special token has id 0 and begins and ends every text.\n"
            "The pre-tokeniser smollm is that of GPT-2, but takes every digit as a word, so that a small vocabulary is not spent on the\n"
            "numbers in the training text.",
        .example = "  pare tokenizer train --data demo/calibration.txt --vocab 4096 -o tokenizer/\n"
                   "  pare tokenizer train --data demo/calibration.txt --vocab 2048 --pre qwen2 --special '<|endoftext|>,<|pad|>' -o "
                   "tokenizer.json",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    if (strcmp(arguments[0], "train") != 0)
        return pare_fail(error, PARE_ERROR_USAGE, "pare tokenizer %s: there is train", arguments[0]);
    return train(&given, &shared, error);
}
