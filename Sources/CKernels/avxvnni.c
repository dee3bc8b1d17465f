// AVX-VNNI: the dot-product instruction on 256-bit registers, for processors without AVX-512.
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#include "vectors.h"
#include <immintrin.h>
#include <string.h>

#define SP_SET sp_kernels_avxvnni
#define SP_SET_NAME "avx-vnni"
#define SP_TOKENS 6
#define SP_ROW_BLOCKS 1

typedef __m256i four_activations;

static inline __attribute__((always_inline)) four_activations broadcast_four(int32_t activations) {
  return _mm256_set1_epi32(activations);
}

static inline __attribute__((always_inline)) void hide(four_activations *four) { __asm__ volatile("" : "+x"(*four)); }

static inline __attribute__((always_inline)) __m256i dot_half(__m256i sums, __m256i tile, four_activations four) {
  return _mm256_dpbusd_avx_epi32(sums, tile, four);
}

#include "tiles_256.inc"
#include "operations.inc"
#pragma clang attribute pop
#endif
