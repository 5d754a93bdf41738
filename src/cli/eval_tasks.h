/* eval_tasks: what pare eval does for --tasks. */
#ifndef PARE_CLI_EVAL_TASKS_H
#define PARE_CLI_EVAL_TASKS_H

#include "cli.h"
#include "pare/task.h"

typedef struct {
    const char *names, *data, *bos, *items, *resume;
    uint32_t limit, fewshot;
    bool force; /* --items may replace anything but what is read */
} task_options;

/* The tasks of one command: opened and their documents read before any model is. */
typedef struct {
    pare_task **tasks;
    pare_items *items;
    pare_choice *choices;
    pare_choice_summary *summaries;
    size_t n, n_choices;
    pare_bos_rule bos;
    pare_request_rule rule;
    bool replace;      /* the items of another run are there */
    const char *state; /* the file of what is scored already: --resume's, or beside --items; NULL: none is kept */
    size_t resumed;
    double seconds;
    pare_arena *arena;
} task_session;

bool tasks_open(task_session *session, const task_options *given, pare_error *error) PARE_MUST_CHECK;
bool tasks_run(task_session *session, const task_options *given, const pare_model *model, const common *shared,
               pare_error *error) PARE_MUST_CHECK;
/* "tasks", "mean" and how they were scored. */
json_t *tasks_json(pare_json_doc *doc, const task_session *session, const task_options *given);
void tasks_print(const task_session *session, const task_options *given);
void tasks_close(task_session *session);

#endif
