/* kernel_tables: the tables that dispatch.c chooses from. */
#ifndef PARE_KERNEL_TABLES_H
#define PARE_KERNEL_TABLES_H

#include "pare/tensor.h"

extern const pare_kernels pare_kernels_reference;
#if defined(__x86_64__)
extern const pare_kernels pare_kernels_avx2;
extern const pare_kernels pare_kernels_avx512;
#endif

#endif
