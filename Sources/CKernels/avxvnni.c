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

typedef struct tile_bytes {
  __m256i low, high;
} tile_bytes;

static inline __attribute__((always_inline)) tile_bytes load_tile(const uint8_t *tile) {
  return (tile_bytes){_mm256_loadu_si256((const __m256i *)tile), _mm256_loadu_si256((const __m256i *)(tile + 32))};
}

typedef __m256i four_activations;

static inline __attribute__((always_inline)) four_activations broadcast_four(int32_t activations) {
  return _mm256_set1_epi32(activations);
}

static inline __attribute__((always_inline)) i32x16 dot_tile(i32x16 sums, tile_bytes tile, four_activations broadcast) {
  __m256i halves[2];
  memcpy(halves, &sums, sizeof halves);
  halves[0] = _mm256_dpbusd_avx_epi32(halves[0], tile.low, broadcast);
  halves[1] = _mm256_dpbusd_avx_epi32(halves[1], tile.high, broadcast);
  memcpy(&sums, halves, sizeof halves);
  return sums;
}

#include "halves_f16c.h"
#include "operations.h"
#pragma clang attribute pop
#endif
