/* request: a context and a continuation as tokens, by lm-evaluation-harness's rules (0.4.13, api/model.py and models/huggingface.py). */
#include <string.h>

#include "task_impl.h"

static const char *const rules[] = {"default", "always", "never"};

bool pare_bos_rule_parse(pare_bos_rule *rule, const char *name, pare_error *error) {
    for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcmp(rules[i], name) == 0) {
            *rule = (pare_bos_rule)i;
            return true;
        }
    return pare_fail(error, PARE_ERROR_USAGE, "--bos \"%s\": there are default (as the tokenizer does), always and never", name);
}

const char *pare_bos_rule_name(pare_bos_rule rule) {
    return rules[rule];
}

bool pare_request_rule_open(pare_request_rule *rule, const pare_checkpoint *checkpoint, pare_bos_rule bos, pare_error *error) {
    int64_t begin, end;
    *rule = (pare_request_rule){.bos = bos, .tokenizer = pare_checkpoint_tokenizer(checkpoint, error)};
    if (!rule->tokenizer || !pare_checkpoint_ends(&begin, &end, checkpoint, error))
        return false;
    if (bos == PARE_BOS_ALWAYS && begin < 0)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: --bos always: its tokenizer has no BOS token; use --bos default",
                         checkpoint->path);
    rule->begin = begin;
    rule->prefix = begin >= 0 ? begin : end;
    rule->max_positions = checkpoint->config.max_positions;
    return true;
}

/* A text that begins with the prefix token as it is written gets no other. */
static bool begins_with_prefix(const pare_request_rule *rule, pare_piece text) {
    pare_piece prefix = rule->prefix >= 0 ? pare_tokenizer_piece(rule->tokenizer, (uint32_t)rule->prefix) : (pare_piece){0};
    return prefix.length > 0 && prefix.length <= text.length && memcmp(prefix.bytes, text.bytes, prefix.length) == 0;
}

bool pare_request_encode_text(pare_tokens *tokens, const pare_request_rule *rule, pare_piece text, pare_error *error) {
    bool special = rule->bos != PARE_BOS_NEVER && !begins_with_prefix(rule, text);
    size_t first = tokens->n;
    if (special && rule->bos == PARE_BOS_ALWAYS && pare_tokenizer_bos(rule->tokenizer) < 0) {
        if (!pare_grow((void **)&tokens->ids, &tokens->capacity, first + 1, sizeof *tokens->ids, error))
            return false;
        tokens->ids[tokens->n++] = (uint32_t)rule->begin;
    }
    return pare_tokenizer_encode(tokens, rule->tokenizer, text.bytes, text.length, special, error);
}

/* No context: the prefix token is it, or what the continuation begins with where that is this token. */
static bool encode_alone(pare_tokens *tokens, uint32_t *n_context, const pare_request_rule *rule, pare_piece continuation,
                         pare_error *error) {
    size_t first = tokens->n;
    if (rule->prefix < 0)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "the context is empty, and the tokenizer has neither BOS nor EOS to stand for it");
    if (!pare_grow((void **)&tokens->ids, &tokens->capacity, first + 1, sizeof *tokens->ids, error))
        return false;
    tokens->ids[tokens->n++] = (uint32_t)rule->prefix;
    if (!pare_tokenizer_encode(tokens, rule->tokenizer, continuation.bytes, continuation.length, false, error))
        return false;
    if (tokens->n > first + 1 && tokens->ids[first + 1] == (uint32_t)rule->prefix) {
        memmove(tokens->ids + first, tokens->ids + first + 1, (tokens->n - first - 1) * sizeof *tokens->ids);
        tokens->n--;
    }
    *n_context = 1;
    return true;
}

/* The tokens of the context, then those by which the joint encoding is longer. */
static bool encode_pair(pare_tokens *tokens, uint32_t *n_context, const pare_request_rule *rule, pare_piece context, pare_piece joint,
                        pare_error *error) {
    pare_tokens whole = {0};
    size_t first = tokens->n, n = 0;
    bool done = pare_request_encode_text(tokens, rule, context, error) && pare_request_encode_text(&whole, rule, joint, error);
    if (done) {
        *n_context = (uint32_t)(tokens->n - first);
        n = whole.n > *n_context ? whole.n - *n_context : 0;
        done = pare_grow((void **)&tokens->ids, &tokens->capacity, tokens->n + n + 1, sizeof *tokens->ids, error);
    }
    if (done && n > 0)
        memcpy(tokens->ids + tokens->n, whole.ids + *n_context, n * sizeof *whole.ids);
    tokens->n += done ? n : 0;
    pare_tokens_free(&whole);
    return done;
}

/* The last max_positions + 1 tokens: the model sees all of them but the last. */
static bool cut_context(pare_tokens *tokens, size_t first, uint32_t *n_context, bool *cut, const pare_request_rule *rule,
                        pare_error *error) {
    size_t n = tokens->n - first, most = (size_t)rule->max_positions + 1;
    if (n - *n_context > rule->max_positions)
        return pare_fail(error, PARE_ERROR_RANGE, "a continuation of %zu tokens is longer than the model's %u positions", n - *n_context,
                         rule->max_positions);
    *cut = n > most;
    if (n <= most)
        return true;
    memmove(tokens->ids + first, tokens->ids + first + (n - most), most * sizeof *tokens->ids);
    tokens->n = first + most;
    *n_context -= (uint32_t)(n - most);
    return true;
}

bool pare_request_encode(pare_tokens *tokens, uint32_t *n_context, bool *cut, const pare_request_rule *rule, pare_piece context,
                         pare_piece continuation, pare_error *error) {
    size_t first = tokens->n, kept = pare_rstrip(context.bytes, context.length);
    pare_string joint = {0};
    pare_string_push(&joint, context.bytes, context.length);
    pare_string_push(&joint, continuation.bytes, continuation.length);
    bool done = pare_string_check(&joint, error);
    if (done && kept == 0)
        done = encode_alone(tokens, n_context, rule, (pare_piece){joint.data, joint.length}, error);
    else if (done)
        done = encode_pair(tokens, n_context, rule, (pare_piece){context.bytes, kept}, (pare_piece){joint.data, joint.length}, error);
    pare_string_free(&joint);
    if (done && tokens->n - first == *n_context)
        done = pare_fail(error, PARE_ERROR_RANGE, "its continuation has no token of its own");
    return done && cut_context(tokens, first, n_context, cut, rule, error);
}
