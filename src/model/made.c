/* made: how a checkpoint was made, as what wrote it tells: pare.json in a folder, "pare.made" in a GGUF. */
#include <stdio.h>

#include "format/format.h"

/* A list by unit, step or evaluation says nothing that a reader of the whole would miss. */
static void shorten(json_t *made) {
    for (; json_is_object(made); made = json_object_get(made, "base")) {
        json_object_del(made, "kept_units");
        json_object_del(made, "losses");
        json_object_del(made, "evaluations");
    }
}

json_t *pare_checkpoint_made(pare_json_doc *doc, const pare_checkpoint *checkpoint, bool whole) {
    const struct pare_gguf *gguf = checkpoint->inner->gguf;
    char path[4096];
    json_t *made = NULL;
    pare_error problem = {0}; /* what is no JSON tells nothing */
    pare_piece text = {0};
    if (gguf && pare_gguf_get_string(&text, gguf, "pare.made", NULL) && text.length)
        made = pare_json_parse(text.bytes, text.length, "pare.made", &problem);
    else if (!gguf && snprintf(path, sizeof path, "%s/pare.json", checkpoint->path) < (int)sizeof path && pare_path_is_file(path))
        made = pare_json_read(path, &problem);
    if (problem.code == PARE_ERROR_MEMORY)
        pare_json_fail(doc, &problem);
    if (made && !json_is_object(made)) {
        json_decref(made);
        return NULL;
    }
    if (!whole)
        shorten(made);
    return made;
}
