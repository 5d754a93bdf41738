/* dataset_test: files, tokenizers and datasets for the tests of datasets. */
#ifndef PARE_TEST_TEXT_DATASET_H
#define PARE_TEST_TEXT_DATASET_H

#include "test.h"

#include <dirent.h>
#include <fcntl.h>

#include "dataset_impl.h"
#include "driver.h"

static inline const char *fixture(const char *name, const char *ending) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", PARE_FIXTURES, name, ending);
    return path;
}

static inline pare_tokenizer *open_fixture(const char *name) {
    pare_error error = {0};
    pare_tokenizer *tokenizer = open_file(fixture(name, ".json"), &error);
    assert_done(tokenizer, error);
    return tokenizer;
}

/* A file in the test's own folder. */
static inline const char *write_file(const char *folder, const char *name, const char *bytes, size_t n) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    pare_error error = {0};
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    assert_done(pare_file_write(path, bytes, n, true, &error), error);
    return path;
}

/* Returns how many files there were. */
static inline size_t remove_all(const char *folder) {
    size_t n = 0;
    DIR *listing = opendir(folder);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        n += unlinkat(dirfd(listing), entry->d_name, 0) == 0;
    if (listing)
        closedir(listing);
    rmdir(folder);
    return n;
}

static inline pare_dataset *open_dataset(const pare_dataset_options *options, const pare_tokenizer *tokenizer) {
    pare_error error = {0};
    pare_dataset *dataset = pare_dataset_open(options, tokenizer, NULL, &error);
    assert_done(dataset, error);
    return dataset;
}

#endif
