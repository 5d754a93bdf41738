/* dispatch: asks the processor once and hands out the best table it can run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_tables.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Not every compiler's __builtin_cpu_supports knows these. */
static bool has_amx(void) {
    unsigned a, b, c, d;
    bool tiles = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 24 & 1) && (d >> 22 & 1);
    return tiles && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1); /* AMX-TILE, AMX-BF16, AVX512-BF16 */
}
#endif

static const pare_kernels *choose(const char *name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    const pare_kernels *amx = avx512 && has_amx() && (!name || strcmp(name, "amx") == 0) ? pare_kernels_amx() : NULL;
    if (amx)
        return amx;
    if (avx512 && (!name || strcmp(name, "avx512") == 0))
        return &pare_kernels_avx512;
    if (avx2 && (!name || strcmp(name, "avx2") == 0))
        return &pare_kernels_avx2;
#endif
    return !name || strcmp(name, "reference") == 0 ? &pare_kernels_reference : NULL;
}

const pare_kernels *pare_kernels_find(const char *name) {
    return choose(name);
}

/* NULL: nothing is named. */
static const char *named_kernels(void) {
    const char *name = getenv("PARE_KERNELS");
    return name && *name ? name : NULL;
}

bool pare_kernels_check(pare_error *error) {
    static const char *const names[] = {"amx", "avx512", "avx2", "reference"};
    const char *name = named_kernels();
    char there[64] = "";
    if (!name || choose(name))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (choose(names[i]))
            snprintf(there + strlen(there), sizeof there - strlen(there), "%s%s", *there ? ", " : "", names[i]);
    return pare_fail(error, PARE_ERROR_USAGE, "PARE_KERNELS=%.40s: this processor has no such kernels; it has %s. Unset it for the best",
                     name, there);
}

static const pare_kernels *best; /* every thread would write the same pointer */

/* What the environment names, else `preferred`, else the best. */
static const pare_kernels *settle(const char *preferred) {
    const char *named = named_kernels();
    const pare_kernels *found = named ? choose(named) : NULL;
    found = found ? found : choose(preferred);
    found = found ? found : choose(NULL);
    __atomic_store_n(&best, found, __ATOMIC_RELAXED);
    return found;
}

const pare_kernels *pare_kernels_best(void) {
    const pare_kernels *found = __atomic_load_n(&best, __ATOMIC_RELAXED);
    return found ? found : settle(NULL);
}

void pare_kernels_prefer_f32(void) {
    settle("avx512"); /* a processor without it has no coarser one either */
}
