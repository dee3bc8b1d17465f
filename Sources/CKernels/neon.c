// NEON with the dot-product instructions of ARMv8.2. Both factors are signed there, so a tile is loaded without its offset
// of 128, and sums start at 0 where other sets start at what undoes the offset.
#if defined(__aarch64__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#include "vectors.h"
#include <arm_neon.h>
#include <string.h>

#define SP_SET sp_kernels_neon
#define SP_SET_NAME "neon-dotprod"
#define SP_SIGNED_TILES 1
#define SP_TOKENS 6
#define SP_ROW_BLOCKS 1

typedef struct tile_bytes {
  int8x16_t quarters[4];
} tile_bytes;

static inline __attribute__((always_inline)) tile_bytes without_offset(uint8x16x4_t bytes) {
  tile_bytes result;
  for (int i = 0; i < 4; i++) result.quarters[i] = vreinterpretq_s8_u8(veorq_u8(bytes.val[i], vdupq_n_u8(128)));
  return result;
}

static inline __attribute__((always_inline)) tile_bytes load_tile(const uint8_t *tile) {
  return without_offset(vld1q_u8_x4(tile));
}

static inline __attribute__((always_inline)) tile_bytes load_nibbles(const uint8_t *tile, bool high) {
  uint8x16_t levels = vld1q_u8(level_bytes);
  uint8x16x4_t bytes = vld1q_u8_x4(tile);
  for (int i = 0; i < 4; i++)
    bytes.val[i] = vqtbl1q_u8(levels, high ? vshrq_n_u8(bytes.val[i], 4) : vandq_u8(bytes.val[i], vdupq_n_u8(15)));
  return without_offset(bytes);
}

typedef int8x16_t four_activations;

static inline __attribute__((always_inline)) four_activations broadcast_four(int32_t activations) {
  return vreinterpretq_s8_s32(vdupq_n_s32(activations));
}

static inline __attribute__((always_inline)) void hide(four_activations *four) { __asm__ volatile("" : "+w"(*four)); }

static inline __attribute__((always_inline)) i32x16 dot_tile(i32x16 sums, tile_bytes tile, four_activations four) {
  int32x4_t quarters[4];
  memcpy(quarters, &sums, sizeof quarters);
  for (int i = 0; i < 4; i++) quarters[i] = vdotq_s32(quarters[i], tile.quarters[i], four);
  memcpy(&sums, quarters, sizeof quarters);
  return sums;
}

static inline __attribute__((always_inline)) f32x16 widen16_float16(const uint16_t *halves) {
  float32x4_t quarters[4];
  for (int i = 0; i < 4; i++) quarters[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves + 4 * i)));
  f32x16 result;
  memcpy(&result, quarters, sizeof result);
  return result;
}

static inline __attribute__((always_inline)) void narrow16_float16(f32x16 x, uint16_t *halves) {
  float32x4_t quarters[4];
  memcpy(quarters, &x, sizeof quarters);
  for (int i = 0; i < 4; i++) vst1_u16(halves + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(quarters[i])));
}

#include "operations.inc"
#pragma clang attribute pop
#endif
