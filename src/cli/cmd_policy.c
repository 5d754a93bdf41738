/* pare policy train: PruneNet's policy, learned on a model's weights and kept for compress --policy. A command of its own, so that --policy
 * only ever reads: a mistyped name is an error, not a minute of training. */
#include <stdio.h>
#include <string.h>

#include "destination.h"
#include "model.h"
#include "pare/compress.h"

typedef struct {
    pare_policy_options options;
    const char *out;
    bool force;
} train_options;

static json_t *result_json(pare_json_doc *doc, const pare_policy *p, const train_options *given, const char *model, double seconds) {
    return pare_json_pack(doc, "{s:s, s:s, s:s, s:i, s:i, s:f, s:i, s:I, s:I, s:f, s:f, s:f}", "version", PARE_VERSION, "model", model,
                          "output", given->out, "width", (int)p->width, "ffn_width", (int)p->ffn_width, "ratio", p->ratio, "episodes",
                          (int)p->episodes, "seed", (json_int_t)p->seed, "parameters", (json_int_t)p->n_values, "reward", p->reward,
                          "seconds", seconds, "max_rss_mib", pare_memory_peak_mib());
}

static bool print_result(const pare_policy *p, const train_options *given, const common *shared, const char *model, double begin,
                         pare_error *error) {
    pare_json_doc doc = {0};
    double seconds = pare_clock_s() - begin;
    if (shared->json)
        return print_json(result_json(&doc, p, given, model, seconds), &doc, error);
    progress_end();
    printf("policy of %s parameters for models of width %u and FFN width %u\n", human_count(p->n_values), p->width, p->ffn_width);
    printf("best of %u episodes at r = %g: mean reward %.3f (1 / Kolmogorov-Smirnov distance); %.1f s: %s\n", p->episodes, p->ratio,
           p->reward, seconds, given->out);
    return true;
}

static bool train(const train_options *given, const common *shared, const char *model, pare_error *error) {
    double begin = pare_clock_s();
    if (!given->out)
        return pare_fail(error, PARE_ERROR_USAGE, "-o FILE is missing");
    if (!check_share("ratio", given->options.ratio, error))
        return false;
    if (!(given->options.ratio > 0 && given->options.ratio < 1))
        return pare_fail(error, PARE_ERROR_USAGE, "--ratio %g: it must lie between 0 and 1", given->options.ratio);
    bool replace;
    reads(model);
    if (!destination_check(&replace, given->out, &destination_file, given->force, error))
        return false;
    pare_policy policy = {0};
    pare_checkpoint *checkpoint = open_model(model, shared, error);
    bool done = checkpoint && pare_policy_train(&policy, checkpoint, &given->options, &shared->context, error) &&
                pare_policy_write(&policy, given->out, replace, error) && print_result(&policy, given, shared, model, begin, error);
    if (!done && checkpoint)
        pare_checkpoint_blame(checkpoint, &shared->context, error);
    pare_policy_free(&policy);
    pare_checkpoint_close(checkpoint);
    return done;
}

bool cmd_policy(int argc, char **argv, pare_error *error) {
    train_options given = {.options = {.ratio = 0.3, .rate = 1e-3, .episodes = 20}};
    const option options[] = {
        {"output", 'o', OPTION_STRING, "FILE", "the policy to write: a safetensors file", &given.out},
        {"ratio", 'r', OPTION_NUMBER, "R", "share of neurons removed during training (0.3)", &given.options.ratio},
        {"episodes", 0, OPTION_COUNT, "N", "passes over all layers; the policy of the best one is kept (20)", &given.options.episodes},
        {"lr", 0, OPTION_NUMBER, "RATE", "learning rate of AdamW (0.001)", &given.options.rate},
        {"seed", 0, OPTION_SEED, "S", "seed of the initial weights and of every draw (0)", &given.options.seed},
        OPTION_FORCE('f', &given.force),
        {0},
    };
    const command_face face = {
        .name = "policy",
        .usage = "train MODEL -o FILE",
        .about =
            "Trains PruneNet's policy: a small network that reads the gate_proj weights of a layer and chooses the FFN neurons to keep,\n"
            "so that the singular values stay as they were. It needs no text. One file serves every ratio and every model of the same\n"
            "width and FFN width: pare compress --method prunenet --policy FILE. Without --policy, compress and studies train a policy\n"
            "first, at ratio 0.3.",
        .example = "  pare policy train demo/model.gguf --ratio 0.3 --episodes 2 -o policy.safetensors\n"
                   "  pare compress demo/model.gguf --method prunenet --policy policy.safetensors --ratio 0.2 --plan",
        .options = options,
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    if (strcmp(arguments[0], "train") != 0)
        return pare_fail(error, PARE_ERROR_USAGE, "pare policy %s: there is train", arguments[0]);
    return train(&given, &shared, arguments[1], error);
}
