/* model: a model as a command opens it: what is odd in its files is told on the way. */
#include "model.h"

pare_checkpoint *open_model(const char *path, const common *shared, pare_error *error) {
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, error);
    if (checkpoint && checkpoint->remark)
        say(shared, "note: %s: not strict JSON, read as Python does: %s", path, checkpoint->remark);
    return checkpoint;
}
