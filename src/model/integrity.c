/* integrity: reads every weight byte once: are all weights finite, and what is the checkpoint's hash.
 *
 * Both walk tensors in pieces of fixed size, so that threads change nothing in the result, and let mapped pages go behind them.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/format.h"

enum { PIECE_BYTES = 8 << 20 };

/* The pages stay in the system's cache; they only stop counting as this process's memory. */
void pare_bytes_drop(const uint8_t *bytes, size_t n) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)bytes / page * page, to = ((uintptr_t)bytes + n) / page * page;
    if (to > from)
        madvise((void *)from, to - from, MADV_DONTNEED); /* advice: a refusal changes nothing */
}

bool pare_checkpoint_maps(const pare_checkpoint *checkpoint, const uint8_t *bytes) {
    for (size_t i = 0; i < checkpoint->inner->n_maps; i++) {
        const pare_map *map = &checkpoint->inner->maps[i];
        if (bytes >= map->data && bytes < map->data + map->size)
            return true;
    }
    return false;
}

/* Weights in memory have no file behind them: their pages would come back as zeros. */
static void drop_mapped(const pare_checkpoint *checkpoint, const uint8_t *bytes, size_t n) {
    if (pare_checkpoint_maps(checkpoint, bytes))
        pare_bytes_drop(bytes, n);
}

void pare_checkpoint_drop_view(const pare_checkpoint *checkpoint, const pare_view *view) {
    drop_mapped(checkpoint, view->tensor->data, view->tensor->n_bytes);
}

void pare_checkpoint_drop(const pare_checkpoint *checkpoint, const char *prefix) {
    size_t length = strlen(prefix);
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        if (strncmp(checkpoint->tensors[i].name, prefix, length) == 0)
            drop_mapped(checkpoint, checkpoint->tensors[i].data, checkpoint->tensors[i].n_bytes);
}

/* ---- finite ---- */

/* NaN and infinity are the values whose exponent bits are all ones. */
static bool all_finite_32(const uint8_t *bytes, size_t n) {
    uint32_t bad = 0;
#pragma omp simd reduction(| : bad)
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, bytes + 4 * i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

static bool all_finite_16(const uint8_t *bytes, size_t n, uint16_t exponent) {
    uint16_t bad = 0;
#pragma omp simd reduction(| : bad)
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        bad |= (uint16_t)((bits & exponent) == exponent);
    }
    return bad == 0;
}

enum { F16_EXPONENT = 0x7c00, BF16_EXPONENT = 0x7f80 };

/* Where the F16 scales of a block lie; the weights between them are whole numbers. */
static bool block_finite(pare_dtype dtype, const uint8_t *block) {
    switch (dtype) {
    case PARE_DTYPE_Q8_0:
    case PARE_DTYPE_Q4_0:
    case PARE_DTYPE_Q5_0: return all_finite_16(block, 1, F16_EXPONENT);
    case PARE_DTYPE_Q4_1:
    case PARE_DTYPE_Q5_1:
    case PARE_DTYPE_Q4_K:
    case PARE_DTYPE_Q5_K: return all_finite_16(block, 2, F16_EXPONENT);
    case PARE_DTYPE_Q6_K: return all_finite_16(block + 208, 1, F16_EXPONENT);
    case PARE_DTYPE_F32:
    case PARE_DTYPE_F16:
    case PARE_DTYPE_BF16:
    case PARE_DTYPE_COUNT: break;
    }
    return true;
}

static bool blocks_finite(pare_dtype dtype, const uint8_t *bytes, size_t n_blocks) {
    switch (dtype) {
    case PARE_DTYPE_F32: return all_finite_32(bytes, n_blocks);
    case PARE_DTYPE_F16: return all_finite_16(bytes, n_blocks, F16_EXPONENT);
    case PARE_DTYPE_BF16: return all_finite_16(bytes, n_blocks, BF16_EXPONENT);
    default: break;
    }
    size_t block_bytes = pare_dtype_info(dtype)->bytes;
    for (size_t i = 0; i < n_blocks; i++)
        if (!block_finite(dtype, bytes + i * block_bytes))
            return false;
    return true;
}

size_t pare_bytes_first_bad(pare_dtype dtype, const uint8_t *bytes, size_t n_blocks) {
    size_t block_bytes = pare_dtype_info(dtype)->bytes, i = 0;
    if (blocks_finite(dtype, bytes, n_blocks))
        return n_blocks;
    while (i < n_blocks && blocks_finite(dtype, bytes + i * block_bytes, 1))
        i++;
    return i;
}

static bool fail_element(const pare_tensor *tensor, uint64_t block, pare_error *error) {
    const pare_dtype_traits *traits = pare_dtype_info(tensor->dtype);
    uint64_t element = block * traits->block, columns = pare_tensor_columns(tensor);
    return pare_fail(error, PARE_ERROR_NUMERIC,
                     "%s: tensor %s: %s at stored element [%llu, %llu] is NaN or infinite (byte %llu of the tensor)", tensor->source,
                     tensor->name, traits->quantised ? "the scale of the block" : "the weight", (unsigned long long)(element / columns),
                     (unsigned long long)(element % columns), (unsigned long long)(block * traits->bytes));
}

static bool check_tensor(const pare_checkpoint *checkpoint, const pare_tensor *tensor, int n_threads, pare_error *error) {
    size_t block_bytes = pare_dtype_info(tensor->dtype)->bytes, n_blocks = tensor->n_bytes / block_bytes;
    size_t piece = PIECE_BYTES / block_bytes, n_pieces = (n_blocks + piece - 1) / piece, bad = n_blocks;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic) reduction(min : bad) if (n_pieces > 1)
    for (size_t i = 0; i < n_pieces; i++) {
        size_t first = i * piece, n = n_blocks - first < piece ? n_blocks - first : piece;
        size_t found = pare_bytes_first_bad(tensor->dtype, tensor->data + first * block_bytes, n);
        if (found < n && first + found < bad)
            bad = first + found;
        drop_mapped(checkpoint, tensor->data + first * block_bytes, n * block_bytes);
    }
    return bad == n_blocks || fail_element(tensor, bad, error);
}

/* Of all tensors: less than its files, which have headers. */
static uint64_t tensor_bytes(const pare_checkpoint *checkpoint) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        bytes += checkpoint->tensors[i].n_bytes;
    return bytes;
}

bool pare_checkpoint_check_finite(const pare_checkpoint *checkpoint, const pare_context *context, pare_error *error) {
    uint64_t done = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        if (!pare_context_check(context, error) || !check_tensor(checkpoint, &checkpoint->tensors[i], pare_context_threads(context), error))
            return false;
        done += checkpoint->tensors[i].n_bytes;
        pare_context_progress(context, "check the weights", (double)done, (double)tensor_bytes(checkpoint));
    }
    return true;
}

void pare_checkpoint_blame(const pare_checkpoint *checkpoint, const pare_context *context, pare_error *error) {
    pare_error weight = {0};
    if (error && error->code == PARE_ERROR_NUMERIC && !pare_checkpoint_check_finite(checkpoint, context, &weight) &&
        weight.code == PARE_ERROR_NUMERIC)
        *error = weight;
}

/* ---- hash ---- */

/* One line per piece. The hash is that of all lines, so that pieces can be hashed by many threads. */
static bool hash_tensor(pare_string *lines, const pare_checkpoint *checkpoint, const pare_tensor *tensor, int n_threads,
                        pare_error *error) {
    char shape[PARE_SHAPE_TEXT];
    size_t n_pieces = (tensor->n_bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    pare_sha256 *hashes = pare_allocate(n_pieces, sizeof *hashes, error);
    if (!hashes)
        return false;
    bool failed = false;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic) reduction(|| : failed) if (n_pieces > 1)
    for (size_t i = 0; i < n_pieces; i++) {
        size_t first = i * PIECE_BYTES, n = tensor->n_bytes - first < PIECE_BYTES ? tensor->n_bytes - first : PIECE_BYTES;
        failed = !pare_sha256_bytes(&hashes[i], tensor->data + first, n, NULL) || failed;
        drop_mapped(checkpoint, tensor->data + first, n);
    }
    pare_string_print(lines, "%s %s %s %u\n", tensor->name, pare_dtype_info(tensor->dtype)->name,
                      pare_shape_print(shape, tensor->n_dims, tensor->dims), tensor->rotary_pairs);
    for (size_t i = 0; i < n_pieces; i++)
        pare_string_print(lines, "%s\n", hashes[i].hex);
    pare_free(hashes);
    return !failed || pare_fail(error, PARE_ERROR_IO, "%s: tensor %s cannot be hashed", tensor->source, tensor->name);
}

static void print_config(pare_string *lines, const pare_config *c) {
    pare_string_print(lines, "%s %u %u %u %u %u %u %u %.17g %d %d %d %d %u\n", pare_arch_name(c->arch), c->n_layers, c->width, c->ffn_width,
                      c->n_heads, c->n_kv_heads, c->head_dim, c->vocabulary, c->rms_eps, c->tied, c->attention_bias, c->output_bias,
                      c->mlp_bias, c->sliding_window);
    for (uint32_t i = 0; c->shapes && i < c->n_layers; i++)
        pare_string_print(lines, "%u %u %u\n", c->shapes[i].ffn_width, c->shapes[i].n_heads, c->shapes[i].n_kv_heads);
    pare_string_print(lines, "rope %.17g\n", c->rope.theta);
    for (uint32_t i = 0; i < c->head_dim / 2; i++)
        pare_string_print(lines, "%.7g\n", pare_rope_factor(&c->rope, i, c->head_dim));
}

bool pare_checkpoint_hash(pare_sha256 *hash, const pare_checkpoint *checkpoint, const pare_context *context, pare_error *error) {
    pare_string lines = {0};
    uint64_t read = 0;
    bool done = true;
    print_config(&lines, &checkpoint->config);
    for (size_t i = 0; done && i < checkpoint->n_tensors; i++) {
        const pare_tensor *tensor = &checkpoint->tensors[i];
        done = pare_context_check(context, error) && hash_tensor(&lines, checkpoint, tensor, pare_context_threads(context), error);
        read += tensor->n_bytes;
        pare_context_progress(context, "read the weights for the hash of the model", (double)read, (double)tensor_bytes(checkpoint));
    }
    done = done && pare_string_check(&lines, error) && pare_sha256_bytes(hash, lines.data, lines.length, error);
    pare_string_free(&lines);
    return done;
}
