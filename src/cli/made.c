/* made: see made.h. What pare.json says was written by this program or by an earlier one: keys may be missing. */
#include "made.h"

#include <stdio.h>
#include <string.h>

static const char *text_of(const json_t *json, const char *key) {
    const char *text = json_string_value(json_object_get(json, key));
    return text ? text : "";
}

static void print_number(const json_t *json, const char *key, const char *name) {
    const json_t *value = json_object_get(json, key);
    if (json_is_integer(value))
        printf(", %s %lld", name, (long long)json_integer_value(value));
    else if (json_is_real(value))
        printf(", %s %.4g", name, json_real_value(value));
}

static void print_text(const json_t *json, const char *key, const char *before) {
    if (*text_of(json, key))
        printf("%s%s", before, text_of(json, key));
}

static void print_calibration(const json_t *calibration) {
    const json_t *windows = json_object_get(calibration, "windows"), *length = json_object_get(calibration, "length");
    printf("              calibrated on %s", *text_of(calibration, "text") ? text_of(calibration, "text") : "a text");
    if (json_is_integer(windows) && json_is_integer(length))
        printf(", %lld windows of %lld tokens", (long long)json_integer_value(windows), (long long)json_integer_value(length));
    if (*text_of(calibration, "sha256"))
        printf(", sha256 %.12s…", text_of(calibration, "sha256"));
    printf("\n");
}

static void print_cut(const json_t *made) {
    printf("cut by %s", text_of(made, "method"));
    print_number(made, "ratio", "ratio");
    if (strcmp(text_of(made, "allocation"), "uniform") != 0)
        print_text(made, "allocation", ", allocation ");
    print_number(made, "seed", "seed");
    print_text(made, "model", ", from ");
    printf("\n");
    if (json_is_object(json_object_get(made, "calibration")))
        print_calibration(json_object_get(made, "calibration"));
}

static void print_training(const json_t *made) {
    static const struct {
        const char *mode, *name;
    } modes[] = {{"lora", "trained with LoRA"}, {"full", "trained, all weights"}, {"pretraining", "trained from nothing"}};
    const json_t *settings = json_object_get(made, "settings");
    const char *mode = text_of(made, "mode");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        mode = strcmp(mode, modes[i].mode) == 0 ? modes[i].name : mode;
    printf("%s", mode);
    print_number(json_object_get(made, "lora"), "rank", "rank");
    print_number(settings, "steps", "steps");
    print_number(made, "tokens", "tokens");
    print_number(settings, "seed", "seed");
    print_text(json_object_get(made, "distillation"), "teacher", ", taught by ");
    print_text(made, "model", ", from ");
    printf("\n");
}

static void print_step(const json_t *made) {
    const char *mode = text_of(made, "mode");
    if (*text_of(made, "method"))
        print_cut(made);
    else if (strcmp(mode, "merge") == 0)
        printf("%s merged into %s\n", text_of(made, "adapter"), text_of(made, "model"));
    else
        print_training(made);
}

void made_print(const pare_checkpoint *checkpoint) {
    pare_json_doc doc = {0};
    json_t *made = pare_checkpoint_made(&doc, checkpoint, false);
    const char *before = "  made        ";
    for (const json_t *step = made; json_is_object(step); step = json_object_get(step, "base")) {
        if (!*text_of(step, "method") && !*text_of(step, "mode"))
            continue;
        printf("%s", before);
        print_step(step);
        before = "  before      ";
    }
    json_decref(made);
}
