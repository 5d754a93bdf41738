/* training_outputs: what a training writes, the model with loss.svg and pare.json in it and the adapter, appears together.
 *
 * Everything is written under temporary names first. Then the adapter gets its name, the model its own, and the state goes. A kill between
 * these leaves the state, whose steps are all done: the same command with --resume writes everything again, finds that what is there
 * already is the same byte for byte, and finishes. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "picture.h"
#include "training.h"

/* ---- before the training ---- */

/* What an earlier process of this training may have published is let stand: its bytes are compared later. */
static bool check_output(training_output *o, const training *t, const char *path, const destination_kind *kind, pare_error *error) {
    *o = (training_output){.path = path};
    if (!path)
        return true;
    bool resumed = t->given->resume && !t->given->force && pare_path_exists(t->state.data);
    o->there = resumed && pare_path_is_folder(path) && !pare_path_is_empty_folder(path);
    return o->there || destination_check(&o->replace, path, kind, t->given->force, error);
}

/* The folder of the tokenised data is made first, and would be in the way at the end. */
static bool check_cache(const training *t, pare_error *error) {
    const char *const outputs[] = {t->given->out, t->given->save_adapter, t->state.data};
    for (size_t i = 0; t->given->cache && i < sizeof outputs / sizeof *outputs; i++)
        if (outputs[i] && is_same_place(outputs[i], t->given->cache))
            return pare_fail(error, PARE_ERROR_USAGE, "--cache %s: %s is written there; the cache needs a folder of its own",
                             t->given->cache, outputs[i]);
    return true;
}

bool training_check_outputs(training *t, pare_error *error) {
    const training_options *g = t->given;
    reads_all(&g->data);
    reads_all(&g->eval);
    if (g->save_adapter && is_same_place(g->out, g->save_adapter))
        return pare_fail(error, PARE_ERROR_USAGE, "-o %s and --save-adapter %s are one folder; the adapter needs one of its own", g->out,
                         g->save_adapter);
    return check_cache(t, error) && destination_spares_inputs(t->state.data, error) &&
           check_output(&t->model, t, g->out, &destination_model, error) &&
           check_output(&t->adapter, t, g->save_adapter, &destination_adapter, error);
}

/* ---- comparing ---- */

static bool is_within(const char *folder, const char *other);

static bool same_bytes(const char *folder, const char *other, const char *name) {
    char path[PATH_MAX], other_path[PATH_MAX];
    pare_map a = {0}, b = {0};
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path ||
        snprintf(other_path, sizeof other_path, "%s/%s", other, name) >= (int)sizeof other_path)
        return false;
    if (pare_path_is_folder(path)) /* chat templates */
        return is_within(path, other_path);
    bool same =
        pare_map_open(&a, path, NULL) && pare_map_open(&b, other_path, NULL) && a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
    pare_map_close(&a);
    pare_map_close(&b);
    return same;
}

/* Whether every file of `folder` is in `other`, too. */
static bool is_within(const char *folder, const char *other) {
    DIR *open = opendir(folder);
    bool same = open != NULL;
    for (struct dirent *entry; same && (entry = readdir(open));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            same = same_bytes(folder, other, entry->d_name);
    if (open)
        closedir(open);
    return same;
}

/* ---- after it ---- */

static pare_folder *open_output(const training_output *o, pare_error *error) {
    return pare_folder_open(o->path, o->replace || o->there, error);
}

static bool publish(pare_folder *folder, const training_output *o, pare_error *error) {
    if (!o->there)
        return pare_folder_commit(folder, error);
    bool same = is_within(pare_folder_path(folder), o->path) && is_within(o->path, pare_folder_path(folder));
    pare_folder_abandon(folder);
    return same || pare_fail(error, PARE_ERROR_CONFLICT,
                             "%s: exists already and is not what this training writes; remove it or choose another name", o->path);
}

bool training_write(training *t, const pare_tuner *tuner, pare_dtype type, const char *note, const char *base, pare_error *error) {
    pare_folder *model = NULL, *adapter = NULL;
    bool done = (!t->adapter.path || ((adapter = open_output(&t->adapter, error)) &&
                                      pare_tuner_write_adapter_in(pare_folder_path(adapter), tuner, base, error))) &&
                (model = open_output(&t->model, error)) &&
                pare_tuner_write_in(pare_folder_path(model), tuner, type, note, &t->shared->context, error) &&
                picture_write(pare_folder_path(model), &t->result, error);
    if (!done) {
        pare_folder_abandon(adapter);
        pare_folder_abandon(model);
    } else if ((done = !adapter || publish(adapter, &t->adapter, error))) {
        done = publish(model, &t->model, error);
    } else {
        pare_folder_abandon(model);
    }
    if (done)
        unlink(t->state.data);
    else
        say(t->shared, "note: the training is kept in %s; the same command with --resume writes its outputs", t->state.data);
    return done;
}
