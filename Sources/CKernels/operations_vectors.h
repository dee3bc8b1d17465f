// Arithmetic on vectors of 16 floats. Part of operations.h.
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define LANES 16
#define TILE_BYTES 64

INLINE f32x16 splat(float x) {
  return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

INLINE i32x16 splat_integer(int32_t x) {
  return (i32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

INLINE f32x16 load(const float *source) {
  f32x16 result;
  memcpy(&result, source, sizeof result);
  return result;
}

INLINE void store(float *target, f32x16 x) { memcpy(target, &x, sizeof x); }

// The first count (1…15) of 16 lanes; zero in the others.
INLINE f32x16 load_partial(const float *source, size_t count) {
  f32x16 result = splat(0);
  memcpy(&result, source, count * sizeof(float));
  return result;
}

INLINE void store_partial(float *target, f32x16 x, size_t count) { memcpy(target, &x, count * sizeof(float)); }

INLINE f32x16 load_some(const float *source, size_t count) {
  return count >= LANES ? load(source) : load_partial(source, count);
}

INLINE void store_some(float *target, f32x16 x, size_t count) {
  if (count >= LANES) store(target, x);
  else store_partial(target, x, count);
}

INLINE f32x16 fma16(f32x16 x, f32x16 y, f32x16 z) { return __builtin_elementwise_fma(x, y, z); }

INLINE f32x16 to_float(i32x16 x) { return __builtin_convertvector(x, f32x16); }

// One order for every instruction set: halves are added to halves.
INLINE float horizontal_sum(f32x16 x) {
  f32x8 a = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
            __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
  f32x4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

INLINE f32x16 absolute(f32x16 x) { return __builtin_elementwise_abs(x); }

// x where the mask is all ones, y where it is 0.
INLINE f32x16 choose(i32x16 mask, f32x16 x, f32x16 y) { return (f32x16)((mask & (i32x16)x) | (~mask & (i32x16)y)); }
INLINE f32x16 larger(f32x16 x, f32x16 y) { return choose(x > y, x, y); }
INLINE f32x16 smaller(f32x16 x, f32x16 y) { return choose(x < y, x, y); }

// All ones in the first count lanes.
INLINE i32x16 first_lanes(size_t count) {
  const i32x16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lanes < (int32_t)count;
}

INLINE float horizontal_maximum(f32x16 x) {
  x = larger(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  x = larger(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  x = larger(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  return x[0] > x[1] ? x[0] : x[1];
}

INLINE int32_t horizontal_total(i32x16 x) {
  x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return x[0] + x[1];
}

// To the nearest integer, ties to even, for |x| < 2^22: adding 1.5 · 2^23 leaves no bits for a fraction.
INLINE f32x16 round_even(f32x16 x) {
  const f32x16 magic = splat(12582912.0f);
  return (x + magic) - magic;
}

// e^x, relative error below 2e-7 for -87 ≤ x ≤ 88, 0 below.
INLINE f32x16 exponential(f32x16 x) {
  f32x16 limited = smaller(larger(x, splat(-87.0f)), splat(88.0f));
  f32x16 n = round_even(limited * splat(1.44269504088896341f));
  f32x16 r = fma16(n, splat(-0.693359375f), limited);
  r = fma16(n, splat(2.12194440e-4f), r);
  // Taylor's series to degree 7 on |r| ≤ ln 2 / 2.
  f32x16 p = splat(1.0f / 5040);
  p = fma16(p, r, splat(1.0f / 720));
  p = fma16(p, r, splat(1.0f / 120));
  p = fma16(p, r, splat(1.0f / 24));
  p = fma16(p, r, splat(1.0f / 6));
  p = fma16(p, r, splat(0.5f));
  p = fma16(p, r, splat(1.0f));
  p = fma16(p, r, splat(1.0f));
  i32x16 power = (__builtin_convertvector(n, i32x16) + 127) << 23;
  f32x16 result = p * (f32x16)power;
  return choose(x < splat(-87.0f), splat(0), result);
}

// 127 · e^x to the nearest integer for x ≤ 0, but for 0.013.
INLINE i32x16 weight16(f32x16 x) {
  // 1.5 · 2^23: what is added to it is rounded to an integer, which stands in the last bits.
  const f32x16 magic = splat(12582912.0f);
  // e^-10 is less than half of 1 / 127.
  f32x16 t = larger(x, splat(-10)) * splat(1.44269504088896341f);
  f32x16 shifted = t + magic;
  f32x16 f = t - (shifted - magic);
  // 127 · 2^f for |f| ≤ 1/2, the relative error evened out.
  f32x16 p = splat(6.98613453f);
  p = fma16(p, f, splat(30.7607937f));
  p = fma16(p, f, splat(88.0469284f));
  p = fma16(p, f, splat(127));
  f32x16 weight = (f32x16)((i32x16)p + ((i32x16)shifted << 23));
  return (i32x16)(weight + magic) - (i32x16)magic;
}
