/* provenance: what a row says about itself before anything is measured: which model, which texts, which program on which machine. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "study_impl.h"

void study_time_now(char out[STUDY_TIME_BYTES]) {
    time_t now = time(NULL);
    struct tm utc;
    if (!gmtime_r(&now, &utc) || strftime(out, STUDY_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        *out = '\0';
}

/* "model name	: AMD EPYC …": the first of /proc/cpuinfo; other systems tell nothing. */
const char *study_processor(pare_arena *arena) {
    static const char field[] = "model name";
    char line[256];
    const char *name = NULL;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && !name && fgets(line, sizeof line, file)) {
        const char *colon = strncmp(line, field, sizeof field - 1) == 0 ? strchr(line, ':') : NULL;
        if (!colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        name = pare_arena_copy(arena, colon, strcspn(colon, "\n"), NULL);
    }
    if (file)
        fclose(file);
    return name;
}

static void fill_model(pare_run_record *record, const pare_spec_model *named, const study_model *model, const pare_checkpoint *checkpoint) {
    pare_size size = pare_checkpoint_size(checkpoint, NULL);
    record->model.name = named->name;
    record->model.path = named->path;
    record->model.sha256 = model->model.hex;
    record->model.architecture = pare_arch_name(checkpoint->config.arch);
    record->model.bytes = size.bytes;
    record->model.n_parameters = size.parameters;
    record->model.n_non_embedding = size.non_embedding;
    record->model.n_vocabulary = checkpoint->config.vocabulary;
}

static void fill_evaluation(pare_run_record *record, const pare_spec *spec, const study_model *model, const study_subject *subject) {
    record->evaluation.protocol = spec->evaluate.protocol.name;
    record->evaluation.data = spec->evaluate.text;
    record->evaluation.data_sha256 = model->evaluation.text.hex;
    record->evaluation.bos = subject->text.bos_rule;
    record->evaluation.weight_type = pare_dtype_info(subject->checkpoint->dtype)->name;
    record->evaluation.context = spec->evaluate.protocol.length;
    record->evaluation.n_windows = subject->n_windows;
    record->evaluation.tokens_in_text = subject->text.windows.tokens_in_text;
}

static void fill_program(pare_run_record *record, const char *processor, const pare_context *context) {
    record->version = PARE_VERSION;
#ifdef PARE_COMMIT
    record->commit = PARE_COMMIT;
#endif
    record->kernels = pare_kernels_best()->name;
    record->blas = pare_gemm_name();
    record->processor = processor;
    record->n_threads = (uint32_t)pare_context_threads(context);
}

void study_record_begin(pare_run_record *record, const pare_study *study, const pare_run *run, const study_subject *subject,
                        const char *processor, const pare_context *context) {
    const pare_spec *spec = study->spec;
    const study_model *model = &study->inner->models[run->model];
    pare_run_record_init(record);
    record->key = run->key.hex;
    record->spec = run->spec;
    record->method = pare_run_method(run);
    record->ratio = run->ratio;
    record->multiple = run->multiple;
    record->seed = run->seed;
    pare_plan whole;
    if (pare_plan_make(&whole, run->method ? run->method->unit : PARE_UNIT_FFN, &model->config, 0, 1, NULL))
        record->dense_width = whole.n_units;
    record->kept_width = run->n_kept;
    if (study_run_calibrated(run)) {
        record->calibration.text = spec->calibrate.text;
        record->calibration.sha256 = model->calibration.text.hex;
        record->calibration.n_windows = spec->calibrate.n_windows;
        record->calibration.length = spec->calibrate.length;
    }
    if (run->recovery_tokens) {
        record->recovery_tokens = (double)run->recovery_tokens; /* until it is known how many there were */
        record->recovery.method = pare_recovery_name(run->recovery);
        record->recovery.text = spec->recovery.text;
        record->recovery.sha256 = model->recovery.hex;
    }
    fill_model(record, &spec->models[run->model], model, subject->checkpoint);
    fill_evaluation(record, spec, model, subject);
    fill_program(record, processor, context);
}
