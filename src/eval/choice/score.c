/* score: requests through the model. What the requests of a group begin with in common is one span, and each goes on behind it in a span of
 * its own; groups of like length fill a run together. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pare/score.h"
#include "pare/sequence.h"

enum { RUN_TOKENS = 2048, RUN_KEYS = 8192 }; /* of one run, unless a single group needs more */

/* One group as it enters the model: `shared` tokens, then what is left of each request. */
typedef struct {
    size_t index, first, end; /* its requests */
    uint32_t shared, longest; /* tokens that enter: n - 1 of the longest request */
    size_t tokens, keys, targets;
} group;

typedef struct {
    const pare_request *requests;
    pare_score *scores;
    pare_forward *forward;
    pare_span_limits limits;
    size_t n_targets; /* that fit */
    pare_span *spans;
    uint32_t *rows, *targets; /* (n_targets) */
    double *nll;
    bool *greedy;
    pare_arena *arena;
} scorer;

static uint32_t common_start(const pare_request *a, const pare_request *b, uint32_t most) {
    uint32_t n = 0;
    while (n < most && n + 1 < b->n && a->ids[n] == b->ids[n])
        n++;
    return n;
}

static group measure(const pare_request *requests, size_t index, size_t first, size_t end) {
    group g = {.index = index, .first = first, .end = end, .shared = requests[first].n - 1};
    for (size_t i = first; i < end; i++) {
        g.shared = common_start(&requests[first], &requests[i], g.shared);
        g.longest = requests[i].n - 1 > g.longest ? requests[i].n - 1 : g.longest;
        g.targets += requests[i].n - requests[i].n_context;
    }
    g.tokens = g.keys = g.shared;
    for (size_t i = first; i < end; i++) {
        uint32_t own = requests[i].n - 1 - g.shared;
        g.tokens += own;
        g.keys += own ? requests[i].n - 1 : 0;
    }
    return g;
}

/* The longest first; among equals the order in which they were given. */
static int by_length(const void *a, const void *b) {
    const group *x = a, *y = b;
    return x->longest != y->longest ? (x->longest < y->longest) - (x->longest > y->longest) : (x->index > y->index) - (x->index < y->index);
}

static bool check(const pare_request *requests, size_t n, pare_error *error) {
    for (size_t i = 0; i < n; i++)
        if (requests[i].n_context == 0 || requests[i].n <= requests[i].n_context)
            return pare_fail(error, PARE_ERROR_RANGE, "request %zu has %u tokens, of which %u are context: one of each is the least", i,
                             requests[i].n, requests[i].n_context);
    return true;
}

static void widen(size_t *most, size_t value) {
    *most = value > *most ? value : *most;
}

static group *plan(pare_span_limits *limits, size_t *n_targets, const pare_request *requests, const size_t *ends, size_t n_groups,
                   pare_arena *arena, pare_error *error) {
    group *groups = PARE_PUSH(arena, group, n_groups, error);
    size_t tokens = 1, keys = 1, targets = 1; /* of all groups */
    *limits = (pare_span_limits){0};
    for (size_t g = 0; groups && g < n_groups; g++) {
        groups[g] = measure(requests, g, g ? ends[g - 1] : 0, ends[g]);
        tokens += groups[g].tokens, keys += groups[g].keys, targets += groups[g].targets;
        widen(&limits->tokens, groups[g].tokens > groups[g].targets ? groups[g].tokens : groups[g].targets);
        widen(&limits->keys, groups[g].keys);
        widen(&limits->length, groups[g].longest);
    }
    size_t all = tokens > targets ? tokens : targets;
    widen(&limits->tokens, all < RUN_TOKENS ? all : RUN_TOKENS);
    widen(&limits->keys, keys < RUN_KEYS ? keys : RUN_KEYS);
    *n_targets = limits->tokens;
    if (groups)
        qsort(groups, n_groups, sizeof *groups, by_length);
    return groups;
}

static bool scorer_open(scorer *s, const pare_model *model, const pare_context *context, pare_error *error) {
    pare_arena *a = s->arena;
    return (s->spans = PARE_PUSH(a, pare_span, s->limits.tokens, error)) && (s->rows = PARE_PUSH(a, uint32_t, s->n_targets, error)) &&
           (s->targets = PARE_PUSH(a, uint32_t, s->n_targets, error)) && (s->nll = PARE_PUSH(a, double, s->n_targets, error)) &&
           (s->greedy = PARE_PUSH(a, bool, s->n_targets, error)) &&
           (s->forward = pare_forward_open_spans(model, &s->limits, context, error));
}

/* How many groups from `at` on fit one run. */
static size_t fitting(const scorer *s, const group *groups, size_t at, size_t n_groups) {
    size_t tokens = 0, keys = 0, targets = 0, n = 0;
    for (; at + n < n_groups; n++) {
        const group *g = &groups[at + n];
        tokens += g->tokens, keys += g->keys, targets += g->targets;
        if (tokens > s->limits.tokens || keys > s->limits.keys || targets > s->n_targets)
            break;
    }
    return n;
}

/* How far a run is filled. */
typedef struct {
    size_t spans, rows, targets;
} filled;

static void add_group(scorer *s, filled *at, const group *g) {
    uint32_t parent = PARE_SPAN_ALONE;
    size_t shared_row = at->rows;
    if (g->shared) {
        parent = (uint32_t)at->spans;
        s->spans[at->spans++] = (pare_span){s->requests[g->first].ids, g->shared, PARE_SPAN_ALONE, 0};
        at->rows += g->shared;
    }
    for (size_t i = g->first; i < g->end; i++) {
        const pare_request *r = &s->requests[i];
        uint32_t own = r->n - 1 - g->shared;
        if (own)
            s->spans[at->spans++] = (pare_span){r->ids + g->shared, own, parent, 0};
        for (uint32_t t = r->n_context - 1; t + 1 < r->n; t++, at->targets++) {
            s->rows[at->targets] = (uint32_t)(t < g->shared ? shared_row + t : at->rows + t - g->shared);
            s->targets[at->targets] = r->ids[t + 1];
        }
        at->rows += own;
    }
}

static bool sum_up(scorer *s, size_t *target, const group *g, pare_error *error) {
    for (size_t i = g->first; i < g->end; i++) {
        pare_score *score = &s->scores[i];
        *score = (pare_score){.greedy = true};
        for (uint32_t t = s->requests[i].n_context; t < s->requests[i].n; t++, ++*target) {
            score->log_likelihood -= s->nll[*target];
            score->greedy = score->greedy && s->greedy[*target];
        }
        if (!isfinite(score->log_likelihood))
            return pare_fail(error, PARE_ERROR_NUMERIC, "the log-likelihood of request %zu (group %zu) is not finite", i - g->first,
                             g->index);
    }
    return true;
}

static bool run(scorer *s, const group *groups, size_t n, pare_score_ready *ready, void *user, pare_error *error) {
    filled at = {0};
    for (size_t g = 0; g < n; g++)
        add_group(s, &at, &groups[g]);
    if (!pare_forward_run_spans(s->forward, NULL, s->spans, at.spans, error) ||
        !pare_forward_nll_greedy(s->nll, s->greedy, s->forward, s->rows, s->targets, at.targets, error))
        return false;
    size_t target = 0;
    for (size_t g = 0; g < n; g++)
        if (!sum_up(s, &target, &groups[g], error) || (ready && !ready(user, groups[g].index, error)))
            return false;
    return true;
}

bool pare_score_run(pare_score *scores, const pare_model *model, const pare_request *requests, const size_t *ends, size_t n_groups,
                    pare_score_ready *ready, void *user, const pare_context *context, pare_error *error) {
    if (n_groups == 0)
        return true;
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return false;
    scorer s = {.requests = requests, .scores = scores, .arena = arena};
    group *groups =
        check(requests, ends[n_groups - 1], error) ? plan(&s.limits, &s.n_targets, requests, ends, n_groups, arena, error) : NULL;
    bool done = groups && scorer_open(&s, model, context, error);
    double all = 0, passed = 0;
    for (size_t g = 0; done && g < n_groups; g++)
        all += (double)groups[g].tokens;
    for (size_t at = 0, n; done && at < n_groups; at += n) {
        n = fitting(&s, groups, at, n_groups);
        pare_context_progress(context, "score the answers", passed, all);
        done = run(&s, groups + at, n, ready, user, error);
        for (size_t g = at; g < at + n; g++)
            passed += (double)groups[g].tokens;
    }
    if (done)
        pare_context_progress(context, "score the answers", all, all);
    pare_forward_close(s.forward);
    pare_arena_close(arena);
    return done;
}
