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
    f->file->documents += !document->continues;
    return pare_bpe_trainer_feed(f->trainer, document->prompt.bytes, document->prompt.length, f->context, error) &&
           pare_bpe_trainer_feed(f->trainer, document->text.bytes, document->text.length, f->context, error);
}

bool pare_bpe_trainer_feed_file(pare_bpe_file *file, pare_bpe_trainer *trainer, const char *path, const pare_context *context,
                                pare_error *error) {
    pare_text_file text;
    if (!pare_text_file_open(&text, path, context, error))
        return false;
    *file = (pare_bpe_file){.bytes = text.length};
    feeder f = {file, trainer, context};
    const pare_source source = {.file = &text};
    bool done = pare_sha256_bytes(&file->sha256, text.bytes, text.length, error) && pare_source_read(&source, take, &f, context, error);
    if (done && file->documents == 0)
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: the text is empty", path);
    pare_text_file_close(&text);
    return done;
}
