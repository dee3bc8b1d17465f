// AVX2 with FMA: products of 16-bit halves, which cannot overflow.
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "vectors.h"
#include <immintrin.h>
#include <string.h>

#define SP_SET sp_kernels_avx2
#define SP_SET_NAME "avx2"
#define SP_TOKENS 4
#define SP_ROW_BLOCKS 1

static inline __attribute__((always_inline)) __m256i dot_half(__m256i sums, __m256i tile, __m256i activations) {
  __m256i even = _mm256_and_si256(tile, _mm256_set1_epi16(0xFF));
  __m256i odd = _mm256_srli_epi16(tile, 8);
  __m256i even_activations = _mm256_srai_epi16(_mm256_slli_epi16(activations, 8), 8);
  __m256i odd_activations = _mm256_srai_epi16(activations, 8);
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, even_activations));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(odd, odd_activations));
}

#include "tiles_256.h"
#include "operations.h"
#pragma clang attribute pop
#endif
