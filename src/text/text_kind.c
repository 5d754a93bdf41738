/* text_kind: what a file is by its first bytes. Most of what is here only gives a name to what would be refused anyhow, because it holds
 * zero bytes or no UTF-8; a few formats are text to a computer and none to a reader (PDF, RTF, a pointer of Git LFS). */
#include <string.h>

#include "text_file.h"

/* only_binary: letters that a text may begin with as well, so the bytes behind must be no text. */
typedef struct {
    const char *magic;
    unsigned length, offset;
    bool only_binary;
    pare_kind_found found;
} signature;

#define OTHER(name, way)                                                                                                                   \
    { PARE_KIND_OTHER, name, way }
#define MAGIC(text) text, sizeof(text) - 1
static const signature signatures[] = {
    {MAGIC("\x1F\x8B"), 0, false, {PARE_KIND_GZIP, "gzip", NULL}},
    {MAGIC("BZh"), 0, true, {PARE_KIND_BZIP2, "bzip2", NULL}},
    {MAGIC("\xFD"
           "7zXZ\0"),
     0, false, OTHER("xz-compressed", "xz -dk FILE")},
    {MAGIC("\x5D\0\0"), 0, false, OTHER("lzma-compressed", "xz -dk --format=lzma FILE")},
    {MAGIC("\x28\xB5\x2F\xFD"), 0, false, OTHER("zstd-compressed", "zstd -d FILE")},
    {MAGIC("\x04\x22\x4D\x18"), 0, false, OTHER("lz4-compressed", "lz4 -d FILE")},
    {MAGIC("\x1F\x9D"), 0, false, OTHER("compressed by compress", "gzip -d FILE")},
    {MAGIC("PK\x03\x04"), 0, false, OTHER("a zip archive (or a document, table or PyTorch file that is one)", "unzip FILE")},
    {MAGIC("PK\x05\x06"), 0, false, OTHER("an empty zip archive", NULL)},
    {MAGIC("7z\xBC\xAF\x27\x1C"), 0, false, OTHER("a 7z archive", "7z x FILE")},
    {MAGIC("Rar!\x1A"), 0, false, OTHER("a rar archive", "unrar x FILE")},
    {MAGIC("ustar"), 257, false, OTHER("a tar archive", "tar -xf FILE")},
    {MAGIC("PAR1"), 0, true,
     OTHER("a Parquet table", "python3 -c \"import pandas; pandas.read_parquet('FILE').to_json('FILE.jsonl', "
                              "orient='records', lines=True)\"")},
    {MAGIC("ARROW1"), 0, true,
     OTHER("an Arrow table", "the datasets package writes it as JSON lines: Dataset.from_file('FILE').to_json("
                             "'FILE.jsonl')")},
    {MAGIC("\xFF\xFF\xFF\xFF"), 0, false,
     OTHER("an Arrow stream", "the datasets package writes it as JSON lines: "
                              "Dataset.from_file('FILE').to_json('FILE.jsonl')")},
    {MAGIC("\x89HDF"), 0, false, OTHER("an HDF5 file", NULL)},
    {MAGIC("\x93NUMPY"), 0, false, OTHER("a NumPy array", NULL)},
    {MAGIC("\x80\x02"), 0, false, OTHER("a Python pickle", NULL)},
    {MAGIC("\x80\x03"), 0, false, OTHER("a Python pickle", NULL)},
    {MAGIC("\x80\x04"), 0, false, OTHER("a Python pickle", NULL)},
    {MAGIC("\x80\x05"), 0, false, OTHER("a Python pickle", NULL)},
    {MAGIC("GGUF"), 0, true, OTHER("a model (GGUF)", NULL)},
    {MAGIC("SQLite format 3"), 0, true, OTHER("an SQLite database", "sqlite3 FILE '.mode json' 'select …'")},
    {MAGIC("%PDF-"), 0, false, OTHER("a PDF document", "pdftotext FILE")},
    {MAGIC("{\\rtf"), 0, false, OTHER("an RTF document", NULL)},
    {MAGIC("%!PS"), 0, false, OTHER("a PostScript document", "ps2ascii FILE")},
    {MAGIC("\xD0\xCF\x11\xE0"), 0, false, OTHER("an Office document", NULL)},
    {MAGIC("version https://git-lfs.github.com/spec/"), 0, false, OTHER("a pointer of Git LFS, not the file itself", "git lfs pull")},
    {MAGIC("\x89PNG"), 0, false, OTHER("a PNG picture", NULL)},
    {MAGIC("\xFF\xD8\xFF"), 0, false, OTHER("a JPEG picture", NULL)},
    {MAGIC("GIF8"), 0, true, OTHER("a GIF picture", NULL)},
    {MAGIC("RIFF"), 0, true, OTHER("a sound, picture or film (RIFF)", NULL)},
    {MAGIC("\x7F"
           "ELF"),
     0, false, OTHER("a program (ELF)", NULL)},
    /* longer marks first: UTF-32's begins as UTF-16's */
    {MAGIC("\xFF\xFE\0\0"), 0, false, OTHER("UTF-32 text", "iconv -f UTF-32 -t UTF-8 FILE > NEW")},
    {MAGIC("\0\0\xFE\xFF"), 0, false, OTHER("UTF-32 text", "iconv -f UTF-32 -t UTF-8 FILE > NEW")},
    {MAGIC("\xFF\xFE"), 0, false, OTHER("UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE > NEW")},
    {MAGIC("\xFE\xFF"), 0, false, OTHER("UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE > NEW")},
};

/* Some of the first bytes are no UTF-8 (a character that is cut off at the end counts for nothing) or control characters. */
static bool is_binary(const uint8_t *bytes, size_t n) {
    size_t first = n < 512 ? n : 512;
    if (pare_utf8_valid(bytes, first) + 4 <= first)
        return true;
    for (size_t i = 0; i < first; i++)
        if (bytes[i] < 9 || (bytes[i] > 13 && bytes[i] < 0x1B))
            return true;
    return false;
}

/* A header of JSON behind its own length. */
static bool is_safetensors(const uint8_t *bytes, size_t n) {
    uint64_t length = 0;
    for (size_t i = 0; i < 8 && n > 9; i++)
        length |= (uint64_t)bytes[i] << 8 * i;
    return n > 9 && length > 1 && length <= n - 8 && bytes[8] == '{' && bytes[7] == 0;
}

/* Zero bytes at the same places in each group of 2 or 4: Latin letters in UTF-16 or UTF-32 without a mark. */
static bool is_wide(pare_kind_found *found, const uint8_t *bytes, size_t n) {
    static const struct {
        unsigned char zeros[4];
        const char *name, *way;
    } kinds[] = {
        {{0, 1, 1, 1}, "UTF-32 text", "iconv -f UTF-32LE -t UTF-8 FILE > NEW"},
        {{1, 1, 1, 0}, "UTF-32 text", "iconv -f UTF-32BE -t UTF-8 FILE > NEW"},
        {{0, 1, 0, 1}, "UTF-16 text", "iconv -f UTF-16LE -t UTF-8 FILE > NEW"},
        {{1, 0, 1, 0}, "UTF-16 text", "iconv -f UTF-16BE -t UTF-8 FILE > NEW"},
    };
    size_t zeros[4] = {0}, groups = (n < 4096 ? n : 4096) / 4;
    for (size_t i = 0; i < 4 * groups; i++)
        zeros[i % 4] += bytes[i] == 0;
    for (size_t k = 0; groups >= 4 && k < sizeof kinds / sizeof *kinds; k++) {
        bool same = true;
        for (size_t i = 0; i < 4; i++)
            same = same && (kinds[k].zeros[i] ? zeros[i] * 2 > groups : zeros[i] * 50 < groups);
        if (same) {
            *found = (pare_kind_found){PARE_KIND_OTHER, kinds[k].name, kinds[k].way};
            return true;
        }
    }
    return false;
}

pare_kind_found pare_kind_of(const uint8_t *bytes, size_t n) {
    pare_kind_found found = {PARE_KIND_TEXT, NULL, NULL};
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        if (n >= s->offset + s->length && memcmp(bytes + s->offset, s->magic, s->length) == 0 && (!s->only_binary || is_binary(bytes, n)))
            return s->found;
    }
    if (is_safetensors(bytes, n))
        return (pare_kind_found)OTHER("a model (safetensors)", NULL);
    is_wide(&found, bytes, n);
    return found;
}
