/* subject: a model of the study with its evaluation text tokenised by its own tokenizer; and its calibration windows. */
#include "study_impl.h"

static bool check_positions(const study_subject *subject, const pare_spec *spec, pare_error *error) {
    const pare_checkpoint *checkpoint = subject->checkpoint;
    size_t most = checkpoint->config.max_positions;
    if (spec->evaluate.protocol.length > most)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: %s takes windows of %u tokens, but the model has %zu positions", checkpoint->path,
                         spec->evaluate.protocol.name, spec->evaluate.protocol.length, most);
    if (spec->calibrate.text && spec->calibrate.length > most)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: calibration windows of %zu tokens, but the model has %zu positions",
                         checkpoint->path, spec->calibrate.length, most);
    if (!checkpoint->tokenizer)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: no tokenizer, so no text can be evaluated: %.700s", checkpoint->path,
                         checkpoint->tokenizer_missing ? checkpoint->tokenizer_missing : "none found");
    return true;
}

bool study_subject_open(study_subject *subject, const pare_spec *spec, size_t model, pare_error *error) {
    *subject = (study_subject){0};
    subject->checkpoint = pare_checkpoint_open(spec->models[model].path, error);
    if (!subject->checkpoint)
        return false;
    if (!check_positions(subject, spec, error) ||
        !pare_eval_text_open(&subject->text, &spec->evaluate.protocol, spec->evaluate.path, subject->checkpoint->tokenizer, error)) {
        study_subject_close(subject);
        return false;
    }
    size_t there = subject->text.windows.n, asked = spec->evaluate.n_windows;
    subject->n_windows = asked && asked < there ? asked : there;
    return true;
}

void study_subject_close(study_subject *subject) {
    pare_eval_text_close(&subject->text);
    pare_checkpoint_close(subject->checkpoint);
    *subject = (study_subject){0};
}

bool study_subject_sample(pare_windows *windows, pare_sha256 *text, const study_subject *subject, const pare_spec *spec,
                          pare_error *error) {
    pare_corpus corpus;
    *windows = (pare_windows){0};
    if (!pare_corpus_open(&corpus, spec->calibrate.path, error))
        return false;
    bool done = pare_windows_sample(windows, &corpus, spec->calibrate.path, subject->checkpoint->tokenizer, spec->calibrate.n_windows,
                                    spec->calibrate.length, spec->seeds[0], error);
    if (text)
        *text = corpus.sha256;
    pare_corpus_close(&corpus);
    return done;
}
