/* eval_against: pare eval --against DENSE: the model beside the dense one, on the same text. */
#ifndef CLI_EVAL_AGAINST_H
#define CLI_EVAL_AGAINST_H

#include "eval_tasks.h"
#include "pare/eval.h"

typedef struct {
    pare_checkpoint *checkpoint;
    pare_model *model;
    pare_eval_comparison text;
    task_session tasks; /* the dense model's answers to the same documents */
} against_session;

/* path NULL: there is none. */
bool against_open(against_session *s, const char *path, const common *shared, pare_error *error) PARE_MUST_CHECK;
void against_close(against_session *s);
bool against_text(against_session *s, const pare_model *model, const pare_eval_text *text, size_t windows, const common *shared,
                  pare_error *error) PARE_MUST_CHECK;
bool against_tasks(against_session *s, const task_options *given, const common *shared, pare_error *error) PARE_MUST_CHECK;
/* mine: the model's answers, or NULL where there are no tasks; has_text: a text was compared. */
json_t *against_json(pare_json_doc *doc, const against_session *s, bool has_text, const task_session *mine);
void against_print(const against_session *s, bool has_text, const task_session *mine);

#endif
