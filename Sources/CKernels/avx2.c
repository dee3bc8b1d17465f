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

typedef struct tile_bytes {
  __m256i low, high;
} tile_bytes;

static inline __attribute__((always_inline)) tile_bytes load_tile(const uint8_t *tile) {
  return (tile_bytes){_mm256_loadu_si256((const __m256i *)tile), _mm256_loadu_si256((const __m256i *)(tile + 32))};
}

static inline __attribute__((always_inline)) __m256i dot_half(__m256i sums, __m256i tile, __m256i activations) {
  __m256i even = _mm256_and_si256(tile, _mm256_set1_epi16(0xFF));
  __m256i odd = _mm256_srli_epi16(tile, 8);
  __m256i even_activations = _mm256_srai_epi16(_mm256_slli_epi16(activations, 8), 8);
  __m256i odd_activations = _mm256_srai_epi16(activations, 8);
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, even_activations));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(odd, odd_activations));
}

typedef __m256i four_activations;

static inline __attribute__((always_inline)) four_activations broadcast_four(int32_t activations) {
  return _mm256_set1_epi32(activations);
}

static inline __attribute__((always_inline)) i32x16 dot_tile(i32x16 sums, tile_bytes tile, four_activations broadcast) {
  __m256i halves[2];
  memcpy(halves, &sums, sizeof halves);
  halves[0] = dot_half(halves[0], tile.low, broadcast);
  halves[1] = dot_half(halves[1], tile.high, broadcast);
  memcpy(&sums, halves, sizeof halves);
  return sums;
}

#include "halves_f16c.h"
#include "operations.h"
#pragma clang attribute pop
#endif
