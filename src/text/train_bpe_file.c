/* train_bpe_file: the documents of a file to the trainer, one by one, so that no word reaches from one into the next. */
#include "dataset_impl.h"

typedef struct {
    pare_bpe_file *file;
    pare_bpe_trainer *trainer;
    const pare_context *context;
} feeder;

static bool take(void *user, const pare_document *document, size_t done, pare_error *error) {
    (void)done;
    const feeder *f = user;
    f->file->documents++;
    return pare_bpe_trainer_feed(f->trainer, document->prompt.bytes, document->prompt.length, f->context, error) &&
           pare_bpe_trainer_feed(f->trainer, document->text.bytes, document->text.length, f->context, error);
}

bool pare_bpe_trainer_feed_file(pare_bpe_file *file, pare_bpe_trainer *trainer, const char *path, const pare_context *context,
                                pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return false;
    *file = (pare_bpe_file){.bytes = map.size};
    feeder f = {file, trainer, context};
    const pare_source source = {.path = path, .bytes = (const char *)map.data, .size = map.size};
    bool done = pare_sha256_bytes(&file->sha256, map.data, map.size, error) && pare_source_read(&source, take, &f, error);
    if (done && file->documents == 0)
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: the text is empty", path);
    pare_map_close(&map);
    return done;
}
