/* refuse: what a path that is no model is instead, and how to get to a model from there. */
#include <string.h>

#include "format/format.h"

/* "Qwen/Qwen2.5-0.5B": a name of the hub, if it is no path. */
static bool hub_name(const char *path) {
    const char *slash = strchr(path, '/');
    return slash && slash > path && slash[1] && !strchr(slash + 1, '/') && path[0] != '.' && path[0] != '~';
}

bool pare_refuse_missing(const char *path, pare_error *error) {
    if (!hub_name(path))
        return pare_fail(error, PARE_ERROR_IO, "%s: cannot open: No such file or directory", path);
    const char *name = strchr(path, '/') + 1;
    return pare_fail(
        error, PARE_ERROR_IO,
        "%s: cannot open: No such file or directory. If this is a model of the Hugging Face hub: pare does not download. Fetch it "
        "first, for example by \"hf download %s --local-dir %s\", and give pare that folder",
        path, path, name);
}

static const struct {
    const char *bytes;
    size_t n;
    const char *what;
} kinds[] = {
    {"PK\003\004", 4,
     "a zip file, as PyTorch's .pt, .pth and .bin are. These hold Python objects, which pare never loads. Load the model in transformers "
     "and "
     "call save_pretrained(FOLDER), which writes safetensors"},
    {"\200\002", 2,
     "a Python pickle, as old PyTorch files are. pare never loads Python objects. Load the model in transformers and call "
     "save_pretrained(FOLDER), which writes safetensors"},
    {"\200\003", 2, "a Python pickle, which pare never loads. Load the model in transformers and call save_pretrained(FOLDER)"},
    {"\200\004", 2, "a Python pickle, which pare never loads. Load the model in transformers and call save_pretrained(FOLDER)"},
    {"\211HDF", 4, "an HDF5 file. Load the model in transformers and call save_pretrained(FOLDER)"},
    {"lmgg", 4, "a GGML file of before GGUF. Convert it by the scripts of llama.cpp, or fetch a GGUF file"},
    {"tjgg", 4, "a GGML file of before GGUF. Convert it by the scripts of llama.cpp, or fetch a GGUF file"},
    {"version https://git-lfs", 23, "a Git LFS pointer and not the file itself. Fetch it by \"git lfs pull\""},
    {"\037\213", 2, "a gzip file. Decompress it first"},
};

bool pare_refuse_file(const char *path, const pare_map *map, pare_error *error) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (map->size >= kinds[i].n && memcmp(map->data, kinds[i].bytes, kinds[i].n) == 0)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a model, but %s", path, kinds[i].what);
    size_t n = strlen(path);
    bool tensors = n > 12 && strcmp(path + n - 12, ".safetensors") == 0;
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a model: neither a GGUF file nor a folder with config.json and *.safetensors%s",
                     path,
                     map->size == 0 ? "; the file is empty"
                     : tensors      ? "; give the folder that holds this file"
                                    : "");
}
