/* vocabulary: pieces and their ids, the byte-level alphabet, and the builders that both readers call. */
#include <string.h>

#include "tokenizer.h"

uint64_t pare_text_hash(const char *bytes, size_t length) {
    uint64_t hash = 0x9E3779B97F4A7C15U ^ length, word;
    for (; length >= 8; length -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93U;
        hash ^= hash >> 32;
    }
    word = 0;
    if (length)
        memcpy(&word, bytes, length);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93U;
    hash ^= hash >> 32;
    return hash * 0xD6E8FEB86659FD93U;
}

bool pare_piece_map_init(pare_piece_map *map, const pare_piece *pieces, size_t n, pare_arena *arena, pare_error *error) {
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    map->slots = PARE_PUSH(arena, uint32_t, size, error);
    map->mask = size - 1;
    map->pieces = pieces;
    return map->slots != NULL;
}

/* The slot where the piece is or would be. */
static size_t slot_of(const pare_piece_map *map, const char *bytes, size_t length) {
    size_t slot = (size_t)(pare_text_hash(bytes, length) >> 20) & map->mask;
    for (; map->slots[slot]; slot = (slot + 1) & map->mask) {
        const pare_piece *piece = &map->pieces[map->slots[slot] - 1];
        if (piece->length == length && memcmp(piece->bytes, bytes, length) == 0)
            break;
    }
    return slot;
}

uint32_t pare_piece_map_find(const pare_piece_map *map, const char *bytes, size_t length) {
    uint32_t found = map->slots[slot_of(map, bytes, length)];
    return found ? found - 1 : PARE_NO_ID;
}

uint32_t pare_piece_map_add(pare_piece_map *map, uint32_t id) {
    size_t slot = slot_of(map, map->pieces[id].bytes, map->pieces[id].length);
    if (map->slots[slot])
        return map->slots[slot] - 1;
    map->slots[slot] = id + 1;
    return PARE_NO_ID;
}

/* Bytes that are printable in Latin-1 stand for themselves, the other 68 follow from U+0100 in order. */
static bool is_printable(uint32_t c) {
    return (c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

uint32_t pare_byte_character(uint8_t byte) {
    if (is_printable(byte))
        return byte;
    uint32_t before = 0;
    for (uint32_t c = 0; c < byte; c++)
        before += !is_printable(c);
    return 0x100 + before;
}

int pare_byte_of_character(uint32_t point) {
    if (point < 0x100)
        return is_printable(point) ? (int)point : -1;
    if (point < 0x121)
        return (int)(point - 0x100); /* 00-20 */
    if (point < 0x143)
        return (int)(point - 0x121 + 0x7F); /* 7F-A0 */
    return point == 0x143 ? 0xAD : -1;
}

pare_tokenizer *pare_tokenizer_begin(const char *what, pare_error *error) {
    pare_unicode_init();
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_tokenizer *tokenizer = PARE_PUSH(arena, pare_tokenizer, 1, error);
    if (!tokenizer) {
        pare_arena_close(arena);
        return NULL;
    }
    tokenizer->arena = arena;
    tokenizer->unknown = PARE_NO_ID;
    tokenizer->what = pare_arena_copy(arena, what, strlen(what), error);
    tokenizer->pool = pare_allocate(1, sizeof *tokenizer->pool, error);
    if (tokenizer->pool)
        pthread_mutex_init(&tokenizer->pool->lock, NULL);
    if (!tokenizer->what || !tokenizer->pool) {
        pare_tokenizer_close(tokenizer);
        return NULL;
    }
    return tokenizer;
}

/* Spelling to bytes; false when a character is outside the byte-level alphabet. */
static bool spelled_bytes(char *out, size_t *length, pare_piece spelled) {
    *length = 0;
    for (size_t at = 0; at < spelled.length; at += pare_utf8_length((uint8_t)spelled.bytes[at])) {
        int byte = pare_byte_of_character(pare_utf8_decode((const uint8_t *)spelled.bytes + at));
        if (byte < 0)
            return false;
        out[(*length)++] = (char)byte;
    }
    return true;
}

/* One allocation for all copies: arena pushes are rounded to cache lines. */
static bool copy_pieces(pare_tokenizer *tokenizer, const pare_piece *pieces, size_t n, pare_error *error) {
    size_t total = 1;
    for (size_t id = 0; id < n; id++)
        total += pieces[id].length;
    char *spelled = PARE_PUSH(tokenizer->arena, char, total, error), *bytes = PARE_PUSH(tokenizer->arena, char, total, error);
    if (!spelled || !bytes)
        return false;
    for (size_t id = 0; id < n; id++) {
        size_t length = pieces[id].length;
        if (!pieces[id].bytes)
            continue;
        if (pare_utf8_valid((const uint8_t *)pieces[id].bytes, length) < length)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: token %zu is not valid UTF-8", tokenizer->what, id);
        if (length)
            memcpy(spelled, pieces[id].bytes, length);
        tokenizer->spelled[id] = (pare_piece){spelled, length};
        spelled += length;
    }
    for (size_t id = 0; id < n; id++) {
        if (!tokenizer->spelled[id].bytes)
            continue;
        size_t length;
        if (spelled_bytes(bytes, &length, tokenizer->spelled[id])) {
            tokenizer->bytes[id] = (pare_piece){bytes, length};
            bytes += length;
        }
    }
    return true;
}

bool pare_tokenizer_set_vocabulary(pare_tokenizer *tokenizer, const pare_piece *pieces, size_t n_ids, pare_error *error) {
    tokenizer->n_ids = n_ids;
    tokenizer->spelled = PARE_PUSH(tokenizer->arena, pare_piece, n_ids, error);
    tokenizer->bytes = PARE_PUSH(tokenizer->arena, pare_piece, n_ids, error);
    tokenizer->is_added = PARE_PUSH(tokenizer->arena, bool, n_ids, error);
    if (!tokenizer->spelled || !tokenizer->bytes || !tokenizer->is_added || !copy_pieces(tokenizer, pieces, n_ids, error) ||
        !pare_piece_map_init(&tokenizer->by_spelling, tokenizer->spelled, n_ids, tokenizer->arena, error))
        return false;
    for (uint32_t id = 0; id < n_ids; id++) {
        if (!tokenizer->spelled[id].bytes)
            continue;
        uint32_t other = pare_piece_map_add(&tokenizer->by_spelling, id);
        if (other != PARE_NO_ID)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tokens %u and %u are the same (\"%.*s\")", tokenizer->what, other, id,
                             (int)(pieces[id].length < 100 ? pieces[id].length : 100), pieces[id].bytes);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char character[4];
        size_t length = pare_utf8_encode(character, pare_byte_character((uint8_t)byte));
        tokenizer->byte_ids[byte] = pare_piece_map_find(&tokenizer->by_spelling, character, length);
    }
    return true;
}

bool pare_tokenizer_set_added(pare_tokenizer *tokenizer, const pare_added *added, size_t n, pare_error *error) {
    pare_arena *arena = tokenizer->arena;
    pare_added *copies = PARE_PUSH(arena, pare_added, n, error);
    if (!copies)
        return false;
    pare_bytes pattern = {0};
    pare_nfc nfc = {0};
    bool done = true;
    for (size_t i = 0; i < n && done; i++) {
        copies[i] = added[i];
        copies[i].content.bytes = pare_arena_copy(arena, added[i].content.bytes, added[i].content.length, error);
        copies[i].pattern = copies[i].content;
        done = copies[i].content.bytes != NULL;
        if (done && tokenizer->nfc && added[i].normalized && pare_nfc_needed(added[i].content.bytes, added[i].content.length)) {
            pattern.length = 0;
            done = pare_nfc_push(&pattern, &nfc, added[i].content.bytes, added[i].content.length, error) &&
                   (copies[i].pattern.bytes = pare_arena_copy(arena, pattern.data, pattern.length, error)) != NULL;
            copies[i].pattern.length = pattern.length;
        }
        tokenizer->is_added[added[i].id] = true;
        tokenizer->spelled[added[i].id] = copies[i].content;
    }
    pare_free(pattern.data);
    pare_nfc_free(&nfc);
    tokenizer->added = copies;
    tokenizer->n_added = n;
    return done && pare_added_set_init(&tokenizer->as_written, copies, n, false, tokenizer->what, arena, error) &&
           pare_added_set_init(&tokenizer->normalized, copies, n, true, tokenizer->what, arena, error);
}

/* With ignore_merges a word that is a token is that token, whatever the merges would make of it. */
bool pare_tokenizer_finish(pare_tokenizer *tokenizer, pare_error *error) {
    if (!tokenizer->ignore_merges)
        return true;
    if (!pare_piece_map_init(&tokenizer->by_bytes, tokenizer->bytes, tokenizer->n_ids, tokenizer->arena, error))
        return false;
    for (uint32_t id = 0; id < tokenizer->n_ids; id++)
        if (tokenizer->bytes[id].bytes)
            pare_piece_map_add(&tokenizer->by_bytes, id);
    return true;
}

pare_piece pare_tokenizer_piece(const pare_tokenizer *tokenizer, uint32_t id) {
    if (id >= tokenizer->n_ids)
        return (pare_piece){"", 0};
    bool decoded = !tokenizer->is_added[id] && tokenizer->bytes[id].bytes;
    pare_piece piece = decoded ? tokenizer->bytes[id] : tokenizer->spelled[id];
    return piece.bytes ? piece : (pare_piece){"", 0};
}

size_t pare_tokenizer_size(const pare_tokenizer *tokenizer) {
    return tokenizer->n_ids;
}

const char *pare_tokenizer_note(const pare_tokenizer *tokenizer) {
    return tokenizer ? tokenizer->note : NULL;
}

int64_t pare_tokenizer_bos(const pare_tokenizer *tokenizer) {
    return tokenizer->n_prefix ? (int64_t)tokenizer->prefix[0] : -1;
}
