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

// Products of several tokens take activations as 16-bit numbers: of each four columns the even ones, then the odd ones,
// and the tokens of a register block side by side.
#define SP_PREPARES 1
typedef int16_t activation;

static inline __attribute__((always_inline)) void prepare_activations(const int8_t *values, size_t stride, size_t count,
                                                                      int16_t *output) {
  const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  size_t c = 0;
  for (; c + 16 <= count; c += 16) {
    __m256i tokens[SP_TOKENS];
    for (size_t t = 0; t < SP_TOKENS; t++)
      tokens[t] = _mm256_cvtepi8_epi16(
          _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(values + t * stride + c)), order));
    // Four columns of each token are 64 bits.
    __m256i low[2] = {_mm256_unpacklo_epi64(tokens[0], tokens[1]), _mm256_unpacklo_epi64(tokens[2], tokens[3])};
    __m256i high[2] = {_mm256_unpackhi_epi64(tokens[0], tokens[1]), _mm256_unpackhi_epi64(tokens[2], tokens[3])};
    __m256i *place = (__m256i *)(output + c * SP_TOKENS);
    _mm256_storeu_si256(place, _mm256_permute2x128_si256(low[0], low[1], 0x20));
    _mm256_storeu_si256(place + 1, _mm256_permute2x128_si256(high[0], high[1], 0x20));
    _mm256_storeu_si256(place + 2, _mm256_permute2x128_si256(low[0], low[1], 0x31));
    _mm256_storeu_si256(place + 3, _mm256_permute2x128_si256(high[0], high[1], 0x31));
  }
  for (; c < count; c += 4)
    for (size_t t = 0; t < SP_TOKENS; t++)
      for (size_t k = 0; k < 4; k++)
        output[c * SP_TOKENS + 4 * t + k] = values[t * stride + c + (k % 2 * 2 + k / 2)];
}

typedef struct four_activations {
  __m256i even, odd;
} four_activations;

static inline __attribute__((always_inline)) four_activations load_four(const int16_t *activations) {
  int32_t pairs[2];
  memcpy(pairs, activations, sizeof pairs);
  return (four_activations){_mm256_set1_epi32(pairs[0]), _mm256_set1_epi32(pairs[1])};
}

static inline __attribute__((always_inline)) four_activations broadcast_four(int32_t activations) {
  __m256i four = _mm256_set1_epi32(activations);
  return (four_activations){_mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8), _mm256_srai_epi16(four, 8)};
}

static inline __attribute__((always_inline)) void hide(four_activations *four) {
  __asm__ volatile("" : "+x"(four->even), "+x"(four->odd));
}

static inline __attribute__((always_inline)) __m256i dot_half(__m256i sums, __m256i tile, four_activations four) {
  __m256i even = _mm256_and_si256(tile, _mm256_set1_epi16(0xFF));
  __m256i odd = _mm256_srli_epi16(tile, 8);
  sums = _mm256_add_epi32(sums, _mm256_madd_epi16(even, four.even));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(odd, four.odd));
}

#include "tiles_256.inc"
#include "operations.inc"
#pragma clang attribute pop
#endif
