// Plain C, for every processor. The other sets are proved against this one.
#include "vectors.h"
#include <string.h>

#define SP_SET sp_kernels_portable
#define SP_SET_NAME "portable"
#define SP_TOKENS 4
#define SP_ROW_BLOCKS 1

// A lane holds a row's four columns.
typedef u32x16 tile_bytes;

static inline tile_bytes load_tile(const uint8_t *tile) {
  tile_bytes result;
  memcpy(&result, tile, sizeof result);
  return result;
}

static inline tile_bytes load_nibbles(const uint8_t *tile, bool high) {
  uint8_t bytes[64];
  for (int i = 0; i < 64; i++) bytes[i] = level_bytes[high ? tile[i] >> 4 : tile[i] & 15];
  return load_tile(bytes);
}

typedef int32_t four_activations;

static inline four_activations broadcast_four(int32_t activations) { return activations; }

static inline void hide(four_activations *four) { __asm__ volatile("" : "+r"(*four)); }

static inline i32x16 dot_tile(i32x16 sums, tile_bytes tile, four_activations activations) {
  int8_t four[4];
  memcpy(four, &activations, sizeof four);
  for (int k = 0; k < 4; k++) sums += (i32x16)(tile >> 8 * k & 0xFF) * four[k];
  return sums;
}

// Moves exponent and fraction into position and corrects the exponent by a product, which is right for subnormal
// numbers too; infinities and NaN keep an exponent of all ones.
static inline f32x16 widen16_float16(const uint16_t *halves) {
  u16x16 bits;
  memcpy(&bits, halves, sizeof bits);
  u32x16 wide = __builtin_convertvector(bits, u32x16);
  u32x16 magnitude = (wide & 0x7FFF) << 13;
  f32x16 value = (f32x16)magnitude * 0x1p112f;
  u32x16 special = (u32x16)((wide & 0x7C00) == 0x7C00);
  u32x16 result = ((u32x16)value & ~special) | ((magnitude | 0x7F800000) & special);
  return (f32x16)(result | (wide & 0x8000) << 16);
}

static inline void narrow16_float16(f32x16 x, uint16_t *halves) {
  for (int lane = 0; lane < 16; lane++) {
    float value = x[lane];
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    uint32_t half;
    if (magnitude >= 0x7F800000) half = magnitude > 0x7F800000 ? 0x7E00 : 0x7C00;
    else if (magnitude >= 0x477FF000) half = 0x7C00;
    else if (magnitude >= 0x38800000) {
      uint32_t even = magnitude >> 13 & 1;
      half = (magnitude - 0x38000000 + 0xFFF + even) >> 13;
    } else {
      // Subnormal: adding 0.5 leaves the fraction's bits in multiples of 2^-24, rounded to even.
      float scaled, shifted;
      memcpy(&scaled, &magnitude, sizeof scaled);
      shifted = scaled + 0.5f;
      memcpy(&half, &shifted, sizeof half);
      half -= 0x3F000000;
    }
    halves[lane] = (uint16_t)(sign | half);
  }
}

#include "operations.inc"
