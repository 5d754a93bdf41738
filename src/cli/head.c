/* head: see head.h. */
#include "head.h"

bool head_settle(pare_checkpoint *checkpoint, bool tie, const common *shared, pare_error *error) {
    pare_head_likeness likeness;
    if (checkpoint->config.tied) {
        if (tie)
            say(shared, "note: the head is the embedding already: --tie changes nothing");
        return true;
    }
    if (tie && !pare_checkpoint_tie(checkpoint, error))
        return false;
    if (tie) {
        say(shared, "note: embedding and head are one matrix of %s weights now, %s",
            human_count((uint64_t)checkpoint->config.vocabulary * checkpoint->config.width),
            pare_dtype_info(pare_checkpoint_find(checkpoint, "model.embed_tokens.weight")->dtype)->name);
        return true;
    }
    if (!pare_head_compare(&likeness, checkpoint, error))
        return false;
    if (likeness.same)
        say(shared, "note: the head is the embedding stored a second time (%.2g %% apart), %s weights; --tie writes one matrix for both",
            100 * likeness.distance, human_count(likeness.parameters));
    return true;
}
