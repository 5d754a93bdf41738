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
    if (spec->recovery.text && spec->recovery.tune.length > most)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: recovery windows of %zu tokens, but the model has %zu positions (seq: in the spec)",
                         checkpoint->path, spec->recovery.tune.length, most);
    if (!checkpoint->tokenizer)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: no tokenizer, so no text can be evaluated: %.700s", checkpoint->path,
                         checkpoint->tokenizer_missing ? checkpoint->tokenizer_missing : "none found");
    return true;
}

bool study_subject_open(study_subject *subject, const pare_spec *spec, size_t model, const pare_context *context, pare_error *error) {
    *subject = (study_subject){0};
    subject->checkpoint = pare_checkpoint_open(spec->models[model].path, error);
    if (!subject->checkpoint)
        return false;
    if (!check_positions(subject, spec, error) || !pare_eval_text_open(&subject->text, &spec->evaluate.protocol, spec->evaluate.path,
                                                                       subject->checkpoint->tokenizer, context, error)) {
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
                          const pare_context *context, pare_error *error) {
    pare_corpus corpus;
    *windows = (pare_windows){0};
    if (!pare_corpus_open(&corpus, spec->calibrate.path, subject->checkpoint->tokenizer, context, error))
        return false;
    bool done = pare_windows_sample(windows, &corpus, spec->calibrate.path, subject->checkpoint->tokenizer, spec->calibrate.n_windows,
                                    spec->calibrate.length, spec->seeds[0], error);
    if (text)
        *text = corpus.sha256;
    pare_corpus_close(&corpus);
    return done;
}

uint64_t study_recovery_steps(const pare_spec_recovery *recovery, uint64_t tokens) {
    uint64_t per_step = recovery->tune.batch * recovery->tune.length;
    return (tokens + per_step - 1) / per_step;
}

pare_dataset *study_subject_data(const study_subject *subject, const pare_spec *spec, const pare_context *context, pare_error *error) {
    const pare_spec_recovery *r = &spec->recovery;
    pare_dataset_options options = {.paths = r->paths,
                                    .n_paths = r->n_paths,
                                    .length = r->tune.length,
                                    .seed = spec->seeds[0],
                                    .separator = subject->checkpoint->config.eos,
                                    .order = PARE_ORDER_SHUFFLED};
    pare_dataset *data = pare_dataset_open(&options, subject->checkpoint->tokenizer, context, error);
    if (!data)
        return NULL;
    uint64_t windows = pare_dataset_facts_of(data)->training.windows, most = windows * r->epochs / r->tune.batch;
    uint64_t asked = r->n_tokens ? study_recovery_steps(r, r->tokens[r->n_tokens - 1]) : 0;
    if (asked <= most)
        return data;
    pare_fail(error, PARE_ERROR_RANGE,
              "%s:%zu: recovery on %llu tokens was asked for, but the data give %llu in %u epoch%s for %s; epochs: allows repeats",
              spec->path, r->line, (unsigned long long)r->tokens[r->n_tokens - 1],
              (unsigned long long)(windows * r->tune.length * r->epochs), r->epochs, r->epochs == 1 ? "" : "s", subject->checkpoint->path);
    pare_dataset_close(data);
    return NULL;
}
