// AVX-512 with VNNI: a tile is one register, a register block 12 tokens × 2 row blocks.
#if defined(__x86_64__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c"))), apply_to = function)
#include "vectors.h"
#include <immintrin.h>
#include <string.h>

#define SP_SET sp_kernels_avx512vnni
#define SP_SET_NAME "avx512-vnni"
#define SP_TOKENS 12
#define SP_ROW_BLOCKS 2

typedef __m512i tile_bytes;

static inline __attribute__((always_inline)) tile_bytes load_tile(const uint8_t *tile) {
  return _mm512_loadu_si512(tile);
}

static inline __attribute__((always_inline)) tile_bytes load_nibbles(const uint8_t *tile, bool high) {
  __m512i levels = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)level_bytes));
  __m512i nibbles = _mm512_loadu_si512(tile);
  if (high) nibbles = _mm512_srli_epi16(nibbles, 4);
  return _mm512_shuffle_epi8(levels, _mm512_and_si512(nibbles, _mm512_set1_epi8(15)));
}

typedef __m512i four_activations;

// Kept in a register: as an operand in memory it would be loaded again for every row block.
static inline __attribute__((always_inline)) four_activations broadcast_four(int32_t activations) {
  __m512i result = _mm512_set1_epi32(activations);
  __asm__("" : "+v"(result));
  return result;
}

static inline __attribute__((always_inline)) void hide(four_activations *four) { __asm__ volatile("" : "+v"(*four)); }

static inline __attribute__((always_inline)) i32x16 dot_tile(i32x16 sums, tile_bytes tile, four_activations four) {
  return (i32x16)_mm512_dpbusd_epi32((__m512i)sums, tile, four);
}

static inline __attribute__((always_inline)) f32x16 widen16_float16(const uint16_t *halves) {
  return (f32x16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)halves));
}

static inline __attribute__((always_inline)) void narrow16_float16(f32x16 x, uint16_t *halves) {
  _mm256_storeu_si256((__m256i *)halves, _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
}

#include "operations.inc"
#pragma clang attribute pop
#endif
