/* task: downstream accuracy, item for item as lm-evaluation-harness has it.
 *
 * A task is a small YAML file (docs/tasks.md): where its documents lie, how one becomes a context and continuations, which is right. What a
 * model is asked is a log-likelihood for each continuation; the metrics are means over items of what follows from these.
 *
 *   pare_task ─ documents of a folder ─▶ pare_items ─ a model's tokenizer ─▶ pare_choice ─ pare_choice_run ─▶ scores ─▶ pare_task_score
 */
#ifndef PARE_TASK_H
#define PARE_TASK_H

#include "pare/score.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tasks -------------------------------------------------------------------------------------- */

enum { PARE_METRIC_ACC = 1, PARE_METRIC_ACC_NORM = 2, PARE_METRIC_ACC_BYTES = 4, PARE_METRIC_PERPLEXITY = 8 };

typedef struct {
    const char *name, *about;
    const char *data;          /* commands that get the documents, lines, or NULL */
    const char *path;          /* of its file, for messages */
    const char *text;          /* of its file */
    pare_sha256 sha256;        /* of its file */
    unsigned metrics;          /* bits */
    unsigned reported;         /* the one of ACC, ACC_NORM, ACC_BYTES that the field reports of this task */
    size_t n_files, n_fields;  /* of the tables below */
    const char *const *files;  /* names that are tried in the folder of documents, in this order; each with .bz2 too */
    const char *const *fields; /* what it reads of a document of the first of these */
    struct pare_task_inner *inner;
} pare_task;

/* The tasks that ship inside the library, by name; ends with NULL. */
extern const char *const pare_task_names[];

/* name: one of these; or the path of a task file (it has a slash or ends in .yaml); or the name of a task file in `folder` (may be NULL)
 * without its ending. Every unknown key, filter and metric is refused with file and line; a name near a known one is suggested. */
pare_task *pare_task_open(const char *name, const char *folder, pare_error *error) PARE_MUST_CHECK;
void pare_task_close(pare_task *task); /* NULL is fine */

/* The filters of templates, one a line, "name  what it does": for help texts. */
void pare_task_print_filters(pare_string *out);

/* ---- documents ---------------------------------------------------------------------------------- */

/* One request as text, not NUL-terminated; both lie in the arena of the items. */
typedef struct {
    pare_piece context, continuation;
    pare_piece choice; /* the text whose length normalises: the choice without what separates it */
} pare_item_request;

typedef struct {
    const pare_item_request *requests;
    uint32_t n, gold; /* n 1, gold 0: a log-likelihood alone, no choices */
    size_t index;     /* of its document in the file, from 0 */
    size_t line;      /* where the document begins, from 1 */
    size_t subset;    /* its place among the subsets; 0 where the task has none */
} pare_item;

typedef struct {
    uint32_t limit;   /* the first so many documents, of each subset where the task has subsets; 0: all */
    uint32_t fewshot; /* examples before each document, the first of the few-shot file (of its subset) */
} pare_items_options;

typedef struct {
    const pare_task *task;
    pare_item *items;
    size_t n;
    const char *const *subsets;              /* names, in order of appearance */
    size_t n_subsets;                        /* 0: the task has none */
    const char *path;                        /* of the documents */
    const char *labels_path, *examples_path; /* of the files beside them; NULL: none was read */
    pare_sha256 data_sha256;                 /* of all files that were read */
    pare_items_options options;
    pare_arena *arena;
} pare_items;

/* Reads the documents of a task from `folder`: JSON lines, a JSON array or rows of text, all of them bzip2-ed or not. Errors: IO when none
 * of the files is there, FORMAT with file, line and field, RANGE for a gold outside of the choices. */
bool pare_items_open(pare_items *items, const pare_task *task, const char *folder, const pare_items_options *options,
                     pare_error *error) PARE_MUST_CHECK;
void pare_items_close(pare_items *items);

/* ---- requests ----------------------------------------------------------------------------------- */

typedef enum {
    PARE_BOS_DEFAULT, /* as the tokenizer's own template does (lm-evaluation-harness since November 2025) */
    PARE_BOS_ALWAYS,  /* add_bos_token=True there */
    PARE_BOS_NEVER,   /* add_bos_token=False there: the default before */
} pare_bos_rule;
bool pare_bos_rule_parse(pare_bos_rule *rule, const char *name, pare_error *error) PARE_MUST_CHECK; /* "default", "always", "never" */
const char *pare_bos_rule_name(pare_bos_rule rule);

/* How texts become requests for one model. */
typedef struct {
    const pare_tokenizer *tokenizer;
    pare_bos_rule bos;
    int64_t prefix;         /* the token that stands for an empty context: BOS, else EOS; -1: none */
    int64_t begin;          /* BOS, -1: none */
    uint32_t max_positions; /* of the model */
} pare_request_rule;
/* UNSUPPORTED when a BOS is asked for and the model has none. */
bool pare_request_rule_open(pare_request_rule *rule, const pare_checkpoint *checkpoint, pare_bos_rule bos,
                            pare_error *error) PARE_MUST_CHECK;

/* A text alone, with BOS by the rule; a text that begins with the prefix token as it is written gets no other. */
bool pare_request_encode_text(pare_tokens *tokens, const pare_request_rule *rule, pare_piece text, pare_error *error) PARE_MUST_CHECK;

/* Appends the tokens of one request, context and continuation; *n_context of them are the context. White space at the context's end goes
 * over to the continuation; its tokens are those by which the joint encoding is longer than the context's; of too many tokens the last
 * max_positions + 1 stay (*cut is set then). Errors: RANGE for a continuation without tokens, or one too long. */
bool pare_request_encode(pare_tokens *tokens, uint32_t *n_context, bool *cut, const pare_request_rule *rule, pare_piece context,
                         pare_piece continuation, pare_error *error) PARE_MUST_CHECK;

/* ---- scores ------------------------------------------------------------------------------------- */

/* The items of one task with their requests for one model, and the scores once they are there. */
typedef struct {
    const pare_items *items;
    pare_request *requests; /* of item i: from ends[i - 1] (0 for the first) to ends[i] */
    size_t *ends;
    pare_score *scores;
    bool *done;        /* by item */
    size_t n_cut;      /* requests that were too long */
    uint64_t n_tokens; /* of all requests */
    pare_arena *arena;
    pare_tokens tokens;
} pare_choice;

bool pare_choice_open(pare_choice *choice, const pare_items *items, const pare_request_rule *rule, const pare_context *context,
                      pare_error *error) PARE_MUST_CHECK;
void pare_choice_close(pare_choice *choice);

/* Items that are scored, kept in a file as they come, so that a run that was stopped goes on where it was. */
typedef struct pare_choice_state pare_choice_state;
/* Opens or begins `path`; what it holds of these choices is taken over into them. binding: what the scores depend on beside tasks and
 * documents (model, BOS rule, kernels); a file with another is refused (CONFLICT). */
pare_choice_state *pare_choice_state_open(const char *path, const char *binding, pare_choice *choices, size_t n_choices,
                                          pare_error *error) PARE_MUST_CHECK;
size_t pare_choice_state_resumed(const pare_choice_state *state); /* items taken over */
/* remove: the run is complete, the file goes. NULL is fine. */
void pare_choice_state_close(pare_choice_state *state, bool remove);

/* Scores what is not done yet of all choices, together. state: may be NULL. NUMERIC naming task and item for a score that is not finite. */
bool pare_choice_run(pare_choice *choices, size_t n_choices, const pare_model *model, pare_choice_state *state, const pare_context *context,
                     pare_error *error) PARE_MUST_CHECK;

/* What follows from an item's scores. Of an item without choices acc is that every token was the likeliest, the others are false. */
typedef struct {
    uint32_t chosen;
    bool acc, acc_norm, acc_bytes;
} pare_item_outcome;
pare_item_outcome pare_choice_outcome(const pare_choice *choice, size_t item);

typedef struct {
    double value, error; /* error: standard error; both NaN where a task has no such metric, error NaN for one item */
} pare_metric;

typedef struct {
    size_t items;
    pare_metric acc, acc_norm, acc_bytes, perplexity; /* perplexity: of a whole target; its error by the delta method */
    double chance;                                    /* mean over items of 1 / choices; 0 where there are none */
} pare_task_score;

typedef struct {
    const char *name;
    pare_task_score score;
} pare_named_score;

typedef struct {
    pare_task_score all;                      /* errors pooled over subsets where the task has these */
    const pare_named_score *subsets, *groups; /* groups: of subsets, as the task file declares them; those that have items */
    size_t n_subsets, n_groups;
} pare_choice_summary;
/* Every item must be done. The summary lies in the choice's arena. */
bool pare_choice_summarise(pare_choice_summary *summary, const pare_choice *choice, pare_error *error) PARE_MUST_CHECK;

/* Two models on the same items: metric is PARE_METRIC_ACC, ACC_NORM or ACC_BYTES. */
typedef struct {
    size_t items, only_model, only_dense; /* items that one of the two alone has right */
    double difference, error;             /* accuracy of the model minus the dense one's, and its standard error over items (paired) */
    double mcnemar;                       /* p of McNemar's exact test that both are equally good */
} pare_paired;
/* Both must be done, and of the same documents. */
pare_paired pare_choice_paired(const pare_choice *model, const pare_choice *dense, unsigned metric);

/* ---- a task out of any text --------------------------------------------------------------------- */

typedef struct {
    uint32_t items, context_words, choice_words, n_choices;
    uint64_t seed;
} pare_task_make_options;
/* Items as JSON lines (context, choices, gold): passages of the text at seeded places, going on truly or as other passages do. Places do
 * not overlap. RANGE when the text is too short. */
bool pare_task_make(pare_string *out, const char *text, size_t n, const char *what, const pare_task_make_options *options,
                    pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
