/* kernel_tables: the tables that dispatch.c chooses from. */
#ifndef PARE_KERNEL_TABLES_H
#define PARE_KERNEL_TABLES_H

#include "pare/tensor.h"

extern const pare_kernels pare_kernels_reference;
#if defined(__x86_64__)
extern const pare_kernels pare_kernels_avx2;
extern const pare_kernels pare_kernels_avx512;
const pare_kernels *pare_kernels_amx(void); /* NULL where the kernel does not let us; ask the processor first */
#endif

/* Every file of kernels names its functions alike. */
#define KERNEL_TABLE(title)                                                                                                                \
    {                                                                                                                                      \
        .name = title, .dequantize = DEQUANTIZE_TABLE, .rms_norm = rms_norm, .rotary = rotary, .swiglu = swiglu, .add = add,               \
        .attention = attention, .attention_scratch = attention_scratch, .attention_one = attention_one, .gemm_few = gemm_few,              \
        .gemm_panel = PANEL, .gemm_pack = gemm_pack, .gemm_pack_step = gemm_pack_step, .gemm = gemm, .log_sum_exp = log_sum_exp,           \
        .add_moments = add_moments, .attention_backward = attention_backward, .attention_backward_scratch = attention_backward_scratch,    \
        .rms_norm_backward = rms_norm_backward, .swiglu_backward = swiglu_backward, .exp_scaled = exp_scaled, .adamw = adamw,              \
        .sum_squares = sum_squares, .add_scaled = add_scaled, .add_rows = add_rows,                                                        \
    }

#endif
