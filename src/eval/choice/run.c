/* run: the items of several tasks that have no scores yet, through the model together; each is kept as it comes. */
#include <math.h>
#include <string.h>

#include "state.h"

/* Where a group of requests comes from. */
typedef struct {
    pare_choice *choice;
    size_t item;
} origin;

typedef struct {
    origin *origins;
    pare_request *requests;
    pare_score *scores;
    size_t *ends;
    size_t n_groups, n_requests;
    pare_choice_state *state;
} work;

static size_t first_of(const pare_choice *choice, size_t item) {
    return item ? choice->ends[item - 1] : 0;
}

static void add_item(work *w, pare_choice *choice, size_t i) {
    size_t first = first_of(choice, i), n = choice->ends[i] - first;
    memcpy(w->requests + w->n_requests, choice->requests + first, n * sizeof *w->requests);
    w->n_requests += n;
    w->origins[w->n_groups] = (origin){choice, i};
    w->ends[w->n_groups++] = w->n_requests;
}

static bool fill(work *w, pare_choice *choices, size_t n_choices, pare_arena *arena, pare_error *error) {
    size_t items = 1, requests = 1;
    for (size_t c = 0; c < n_choices; c++) {
        items += choices[c].items->n;
        requests += choices[c].ends[choices[c].items->n - 1];
    }
    if (!(w->origins = PARE_PUSH(arena, origin, items, error)) || !(w->ends = PARE_PUSH(arena, size_t, items, error)) ||
        !(w->requests = PARE_PUSH(arena, pare_request, requests, error)) || !(w->scores = PARE_PUSH(arena, pare_score, requests, error)))
        return false;
    for (size_t c = 0; c < n_choices; c++)
        for (size_t i = 0; i < choices[c].items->n; i++)
            if (!choices[c].done[i])
                add_item(w, &choices[c], i);
    return true;
}

static bool ready(void *user, size_t group, pare_error *error) {
    const work *w = user;
    const origin *o = &w->origins[group];
    size_t begin = group ? w->ends[group - 1] : 0;
    memcpy(o->choice->scores + first_of(o->choice, o->item), w->scores + begin, (w->ends[group] - begin) * sizeof *w->scores);
    o->choice->done[o->item] = true;
    return !w->state || pare_choice_state_add(w->state, o->choice, o->item, error);
}

/* Which task and document the score that is not finite belongs to. */
static void name_item(const work *w, pare_error *error) {
    for (size_t g = 0; error && g < w->n_groups; g++)
        for (size_t r = g ? w->ends[g - 1] : 0; r < w->ends[g]; r++)
            if (!isfinite(w->scores[r].log_likelihood)) {
                const pare_items *items = w->origins[g].choice->items;
                pare_fail(error, PARE_ERROR_NUMERIC, "task %s, document %zu of %s: the log-likelihood of choice %zu is not finite",
                          items->task->name, items->items[w->origins[g].item].index + 1, items->path, r - (g ? w->ends[g - 1] : 0));
                return;
            }
}

bool pare_choice_run(pare_choice *choices, size_t n_choices, const pare_model *model, pare_choice_state *state, const pare_context *context,
                     pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return false;
    pare_error problem = {0};
    work w = {.state = state};
    bool done = fill(&w, choices, n_choices, arena, error);
    if (done && !(done = pare_score_run(w.scores, model, w.requests, w.ends, w.n_groups, ready, &w, context, &problem))) {
        if (problem.code == PARE_ERROR_NUMERIC)
            name_item(&w, &problem);
        if (error)
            *error = problem;
    }
    pare_arena_close(arena);
    return done;
}
