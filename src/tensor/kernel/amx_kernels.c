/* amx_kernels: products and attention on the tile unit of AMX-BF16; everything else is the AVX-512 table's. Built with those flags and
 * AVX512-BF16; dispatch.c asks the processor before it calls. */
#if defined(__AVX512BF16__) /* with AMX, whose macro has two spellings */
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "avx512_vector.h"
#include "kernel_tables.h"
#include "vector_body.h"

#include "amx_tiles_body.h"
#include "amx_gemm_body.h"
#include "amx_attention_body.h"

static pare_kernels table;
static bool granted;

static void prepare(void) {
    enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM: tiles are 8 KiB more to save for every thread */
    table = pare_kernels_avx512;
    table.name = "amx";
    table.gemm_panel = PANEL;
    table.gemm_pack = gemm_pack;
    table.gemm_pack_step = gemm_pack_step;
    table.gemm = gemm;
    table.attention = attention;
    table.attention_scratch = attention_scratch;
    granted = pare_kernels_avx512.gemm_panel == PANEL && syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0;
}

const pare_kernels *pare_kernels_amx(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    return granted ? &table : NULL;
}
#endif
