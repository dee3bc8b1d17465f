// The operations of CKernels.h over vectors of 16 floats, written once. An instruction set's file defines, before it
// includes this one:
//   SP_SET            the table's suffix and SP_SET_NAME its name
//   tile_bytes, load_tile            a tile in registers
//   four_activations, broadcast_four  four activations in every lane
//   dot_tile          adds 16 rows × 4 columns of unsigned tile times signed activations to 16 sums
//   widen16_float16   16 float16 to float32
//   narrow16_float16  the reverse, to nearest even
//   SP_TOKENS, SP_ROW_BLOCKS: the register block of the int8 product
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define LANES 16
#define TILE_BYTES 64

// ---- vectors ----

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

// ---- elements ----

INLINE f32x16 widen16(const void *source, sp_element element, size_t index) {
  if (element == SP_FLOAT32) return load((const float *)source + index);
  const uint16_t *halves = (const uint16_t *)source + index;
  if (element == SP_FLOAT16) return widen16_float16(halves);
  u16x16 bits;
  memcpy(&bits, halves, sizeof bits);
  return (f32x16)(__builtin_convertvector(bits, u32x16) << 16);
}

INLINE f32x16 widen_some(const void *source, sp_element element, size_t index, size_t count) {
  if (count >= LANES) return widen16(source, element, index);
  size_t size = element == SP_FLOAT32 ? 4 : 2;
  char padded[LANES * 4] = {0};
  memcpy(padded, (const char *)source + index * size, count * size);
  return widen16(padded, element, 0);
}

static void widen(const void *source, sp_element element, size_t count, float *output) {
  for (size_t i = 0; i < count; i += LANES)
    store_some(output + i, widen_some(source, element, i, count - i), count - i);
}

static void narrow_to_float16(const float *source, size_t count, uint16_t *output) {
  for (size_t i = 0; i < count; i += LANES) {
    uint16_t halves[LANES];
    narrow16_float16(load_some(source + i, count - i), halves);
    size_t some = count - i < LANES ? count - i : LANES;
    memcpy(output + i, halves, some * sizeof(uint16_t));
  }
}

static bool all_finite(const float *values, size_t count) {
  // x - x is 0 for finite values and not a number for others.
  f32x16 sum = splat(0);
  for (size_t i = 0; i < count; i += LANES) {
    f32x16 x = load_some(values + i, count - i);
    sum += x - x;
  }
  return horizontal_sum(sum) == 0;
}

// ---- quantization ----

INLINE float largest_magnitude(const float *source, size_t count) {
  f32x16 largest = splat(0);
  for (size_t i = 0; i < count; i += LANES) largest = larger(largest, absolute(load_some(source + i, count - i)));
  return horizontal_maximum(largest);
}

// The factor that brings values to -127…127, or 0 where there is none.
INLINE float inverse_scale(float scale) {
  float inverse = scale > 0 ? 1.0f / scale : 0;
  return inverse <= 3.0e38f ? inverse : 0;
}

INLINE i32x16 quantize16(f32x16 x, float inverse) {
  f32x16 rounded = round_even(x * splat(inverse));
  rounded = smaller(larger(rounded, splat(-127.0f)), splat(127.0f));
  return __builtin_convertvector(rounded, i32x16);
}

static bool quantize_row_block(const float *source, size_t rows, size_t columns, size_t group_size, uint8_t *output) {
  if (!all_finite(source, rows * columns)) return false;
  for (size_t start = 0; start < columns; start += group_size) {
    size_t count = columns - start < group_size ? columns - start : group_size;
    size_t tile_bytes = (count + 3) / 4 * TILE_BYTES;
    memset(output, 128, tile_bytes);
    float scales[LANES] = {0};
    for (size_t r = 0; r < rows; r++) {
      const float *row = source + r * columns + start;
      float scale = largest_magnitude(row, count) / 127.0f;
      float inverse = inverse_scale(scale);
      if (inverse == 0) continue;
      scales[r] = scale;
      for (size_t c = 0; c < count; c += LANES) {
        i32x16 q = quantize16(load_some(row + c, count - c), inverse) + 128;
        u8x16 bytes = __builtin_convertvector(q, u8x16);
        // Lanes behind the last column are 128, as padding is.
        uint8_t values[LANES];
        memcpy(values, &bytes, sizeof values);
        size_t some = count - c < LANES ? count - c : LANES;
        for (size_t k = 0; k < some; k += 4) memcpy(output + (c + k) / 4 * TILE_BYTES + 4 * r, values + k, 4);
      }
    }
    output += tile_bytes;
    memcpy(output, scales, sizeof scales);
    output += sizeof scales;
  }
  return true;
}

static void dequantize_row(const uint8_t *row_block, size_t row, size_t columns, size_t group_size, float *output) {
  for (size_t start = 0; start < columns; start += group_size) {
    size_t count = columns - start < group_size ? columns - start : group_size;
    size_t tile_bytes = (count + 3) / 4 * TILE_BYTES;
    float scale;
    memcpy(&scale, row_block + tile_bytes + row * sizeof(float), sizeof scale);
    for (size_t c = 0; c < count; c++) {
      int value = (int)row_block[c / 4 * TILE_BYTES + 4 * row + c % 4] - 128;
      output[start + c] = (float)value * scale;
    }
    row_block += tile_bytes + LANES * sizeof(float);
  }
}

static void quantize_activations(const float *source, size_t source_stride, size_t first, size_t last, size_t columns,
                                 size_t group_size, sp_activations output) {
  size_t groups = (columns + group_size - 1) / group_size;
  for (size_t t = first; t < last; t++) {
    const float *row = source + t * source_stride;
    int8_t *values = output.values + t * output.stride;
    for (size_t g = 0; g < groups; g++) {
      size_t start = g * group_size;
      size_t count = columns - start < group_size ? columns - start : group_size;
      float scale = largest_magnitude(row + start, count) / 127.0f;
      float inverse = inverse_scale(scale);
      i32x16 sum = splat_integer(0);
      for (size_t c = 0; c < count; c += LANES) {
        i32x16 q = quantize16(load_some(row + start + c, count - c), inverse);
        sum += q;
        i8x16 bytes = __builtin_convertvector(q, i8x16);
        if (count - c >= LANES) memcpy(values + start + c, &bytes, LANES);
        else memcpy(values + start + c, &bytes, count - c);
      }
      output.scales[t * groups + g] = inverse == 0 ? 0 : scale;
      output.offsets[t * groups + g] = -128 * horizontal_total(sum);
    }
    memset(values + columns, 0, output.stride - columns);
  }
}

// ---- products ----

// A register block: `tokens` × `blocks` row blocks, both constants where it is called.
INLINE void block_int8(const size_t tokens, const size_t blocks, const uint8_t *matrix, size_t row_block_bytes,
                       size_t columns, size_t group_size, size_t groups, sp_activations a, size_t token,
                       float sums[SP_TOKENS][SP_ROW_BLOCKS][LANES]) {
  for (size_t t = 0; t < tokens; t++)
    for (size_t b = 0; b < blocks; b++) store(sums[t][b], splat(0));
  size_t padded = (columns + 3) / 4 * 4;
  for (size_t g = 0; g < groups; g++) {
    size_t start = g * group_size;
    size_t width = padded - start < group_size ? padded - start : group_size;
    i32x16 total[SP_TOKENS][SP_ROW_BLOCKS];
#pragma clang loop unroll(full)
    for (size_t t = 0; t < tokens; t++)
#pragma clang loop unroll(full)
      for (size_t b = 0; b < blocks; b++) total[t][b] = splat_integer(a.offsets[(token + t) * groups + g]);
    // Four tokens to a pointer: their distances are what an address can express.
    const int8_t *values[(SP_TOKENS + 3) / 4];
    for (size_t t = 0; t < tokens; t += 4) values[t / 4] = a.values + (token + t) * a.stride + start;
    for (size_t c = 0; c < width; c += 4) {
      tile_bytes tile[SP_ROW_BLOCKS];
#pragma clang loop unroll(full)
      for (size_t b = 0; b < blocks; b++) tile[b] = load_tile(matrix + b * row_block_bytes + c / 4 * TILE_BYTES);
#pragma clang loop unroll(full)
      for (size_t t = 0; t < tokens; t++) {
        int32_t four;
        memcpy(&four, values[t / 4] + t % 4 * a.stride, sizeof four);
        four_activations broadcast = broadcast_four(four);
#pragma clang loop unroll(full)
        for (size_t b = 0; b < blocks; b++) total[t][b] = dot_tile(total[t][b], tile[b], broadcast);
      }
#pragma clang loop unroll(full)
      for (size_t t = 0; t < tokens; t += 4) values[t / 4] += 4;
    }
    matrix += width / 4 * TILE_BYTES;
#pragma clang loop unroll(full)
    for (size_t b = 0; b < blocks; b++) {
      f32x16 scales = load((const float *)(matrix + b * row_block_bytes));
#pragma clang loop unroll(full)
      for (size_t t = 0; t < tokens; t++) {
        f32x16 factor = scales * splat(a.scales[(token + t) * groups + g]);
        store(sums[t][b], fma16(to_float(total[t][b]), factor, load(sums[t][b])));
      }
    }
    matrix += LANES * sizeof(float);
  }
}

// One token and one row block: four chains of sums hide the latency of the dot product.
INLINE f32x16 single_int8(const uint8_t *matrix, size_t columns, size_t group_size, size_t groups, sp_activations a,
                          size_t token) {
  f32x16 sum = splat(0);
  size_t padded = (columns + 3) / 4 * 4;
  const int8_t *values = a.values + token * a.stride;
  for (size_t g = 0; g < groups; g++) {
    size_t start = g * group_size;
    size_t width = padded - start < group_size ? padded - start : group_size;
    i32x16 total[4] = {splat_integer(a.offsets[token * groups + g]), splat_integer(0), splat_integer(0),
                       splat_integer(0)};
    size_t c = 0;
    for (; c + 16 <= width; c += 16) {
#pragma clang loop unroll(full)
      for (size_t k = 0; k < 4; k++) {
        int32_t four;
        memcpy(&four, values + start + c + 4 * k, sizeof four);
        total[k] = dot_tile(total[k], load_tile(matrix + (c / 4 + k) * TILE_BYTES), broadcast_four(four));
      }
    }
    for (; c < width; c += 4) {
      int32_t four;
      memcpy(&four, values + start + c, sizeof four);
      total[0] = dot_tile(total[0], load_tile(matrix + c / 4 * TILE_BYTES), broadcast_four(four));
    }
    matrix += width / 4 * TILE_BYTES;
    f32x16 factor = load((const float *)matrix) * splat(a.scales[token * groups + g]);
    sum = fma16(to_float((total[0] + total[1]) + (total[2] + total[3])), factor, sum);
    matrix += LANES * sizeof(float);
  }
  return sum;
}

INLINE void put(float *output, f32x16 x, size_t count, bool accumulate) {
  if (accumulate) x = load_some(output, count) + x;
  store_some(output, x, count);
}

static void product_int8(const uint8_t *matrix, size_t row_block_bytes, size_t first_block, size_t last_block,
                         size_t rows, size_t columns, size_t group_size, sp_activations a, size_t tokens, float *output,
                         size_t output_stride, bool accumulate) {
  size_t groups = (columns + group_size - 1) / group_size;
  float sums[SP_TOKENS][SP_ROW_BLOCKS][LANES];
  size_t block = first_block;
  while (block < last_block) {
    size_t blocks = tokens > 1 && last_block - block >= SP_ROW_BLOCKS ? SP_ROW_BLOCKS : 1;
    const uint8_t *tiles = matrix + block * row_block_bytes;
    size_t token = 0;
    while (token < tokens) {
      size_t left = tokens - token;
      size_t some;
#define BLOCK(T, B) block_int8(T, B, tiles, row_block_bytes, columns, group_size, groups, a, token, sums)
      if (left >= SP_TOKENS) {
        some = SP_TOKENS;
        if (blocks == SP_ROW_BLOCKS) BLOCK(SP_TOKENS, SP_ROW_BLOCKS);
        else BLOCK(SP_TOKENS, 1);
      } else if (left >= 4) {
        some = 4;
        if (blocks == SP_ROW_BLOCKS) BLOCK(4, SP_ROW_BLOCKS);
        else BLOCK(4, 1);
      } else {
        some = 1;
        for (size_t b = 0; b < blocks; b++)
          store(sums[0][b], single_int8(tiles + b * row_block_bytes, columns, group_size, groups, a, token));
      }
#undef BLOCK
      for (size_t t = 0; t < some; t++)
        for (size_t b = 0; b < blocks; b++) {
          size_t row = (block + b) * LANES;
          put(output + (token + t) * output_stride + row, load(sums[t][b]), rows - row, accumulate);
        }
      token += some;
    }
    block += blocks;
  }
}

#define FLOAT_TOKENS 4
#define FLOAT_ROWS 4

// Each output value is one chain of fused multiply-adds over the columns, whatever the block it is computed in.
INLINE void block_float(const size_t tokens, const size_t rows, const void *matrix, sp_element element, size_t row,
                        size_t columns, const float *input, float *output, size_t output_stride, bool accumulate) {
  f32x16 sums[FLOAT_TOKENS][2 * FLOAT_ROWS];
  for (size_t t = 0; t < tokens; t++)
    for (size_t r = 0; r < rows; r++) sums[t][r] = splat(0);
  size_t c = 0;
  for (; c + LANES <= columns; c += LANES) {
    f32x16 x[FLOAT_TOKENS];
#pragma clang loop unroll(full)
    for (size_t t = 0; t < tokens; t++) x[t] = load(input + t * columns + c);
#pragma clang loop unroll(full)
    for (size_t r = 0; r < rows; r++) {
      f32x16 w = widen16(matrix, element, (row + r) * columns + c);
#pragma clang loop unroll(full)
      for (size_t t = 0; t < tokens; t++) sums[t][r] = fma16(w, x[t], sums[t][r]);
    }
  }
  if (c < columns)
    for (size_t r = 0; r < rows; r++) {
      f32x16 w = widen_some(matrix, element, (row + r) * columns + c, columns - c);
      for (size_t t = 0; t < tokens; t++)
        sums[t][r] = fma16(w, load_partial(input + t * columns + c, columns - c), sums[t][r]);
    }
  for (size_t t = 0; t < tokens; t++)
    for (size_t r = 0; r < rows; r++) {
      float *target = output + t * output_stride + row + r;
      float sum = horizontal_sum(sums[t][r]);
      *target = accumulate ? *target + sum : sum;
    }
}

INLINE void product_of(sp_element element, const void *matrix, size_t first_row, size_t last_row, size_t columns,
                       const float *input, size_t tokens, float *output, size_t output_stride, bool accumulate) {
  size_t row = first_row;
  while (row < last_row) {
    size_t rows = last_row - row >= 2 * FLOAT_ROWS && tokens == 1 ? 2 * FLOAT_ROWS
                  : last_row - row >= FLOAT_ROWS                  ? FLOAT_ROWS
                                                                  : 1;
    for (size_t token = 0; token < tokens;) {
      const float *x = input + token * columns;
      float *y = output + token * output_stride;
      size_t some = tokens - token >= FLOAT_TOKENS ? FLOAT_TOKENS : 1;
#define BLOCK(T, R) block_float(T, R, matrix, element, row, columns, x, y, output_stride, accumulate)
      if (rows == 2 * FLOAT_ROWS) BLOCK(1, 2 * FLOAT_ROWS);
      else if (rows == FLOAT_ROWS) {
        if (some == FLOAT_TOKENS) BLOCK(FLOAT_TOKENS, FLOAT_ROWS);
        else BLOCK(1, FLOAT_ROWS);
      } else if (some == FLOAT_TOKENS) BLOCK(FLOAT_TOKENS, 1);
      else BLOCK(1, 1);
#undef BLOCK
      token += some;
    }
    row += rows;
  }
}

static void product_float(const void *matrix, sp_element element, size_t first_row, size_t last_row, size_t columns,
                          const float *input, size_t tokens, float *output, size_t output_stride, bool accumulate) {
  // The element is a constant in each call, so that the loops do not ask for it.
  if (element == SP_FLOAT32)
    product_of(SP_FLOAT32, matrix, first_row, last_row, columns, input, tokens, output, output_stride, accumulate);
  else if (element == SP_FLOAT16)
    product_of(SP_FLOAT16, matrix, first_row, last_row, columns, input, tokens, output, output_stride, accumulate);
  else product_of(SP_BFLOAT16, matrix, first_row, last_row, columns, input, tokens, output, output_stride, accumulate);
}

// ---- attention ----

INLINE void scores_of(sp_element element, const void *keys, size_t count, size_t head_dim, const float *query,
                      float *scores) {
  for (size_t i = 0; i < count; i++) {
    f32x16 sum = splat(0);
    size_t d = 0;
    for (; d + LANES <= head_dim; d += LANES)
      sum = fma16(load(query + d), widen16(keys, element, i * head_dim + d), sum);
    if (d < head_dim)
      sum = fma16(load_partial(query + d, head_dim - d), widen_some(keys, element, i * head_dim + d, head_dim - d), sum);
    scores[i] = horizontal_sum(sum);
  }
}

static void scores_float(const void *keys, sp_element element, size_t count, size_t head_dim, const float *query,
                         float *scores) {
  if (element == SP_FLOAT32) scores_of(SP_FLOAT32, keys, count, head_dim, query, scores);
  else scores_of(SP_FLOAT16, keys, count, head_dim, query, scores);
}

// Four vectors of channels at a time, so that the sums stay in registers while the rows go by.
INLINE void weighted_sum_of(sp_element element, const void *values, size_t count, size_t head_dim,
                            const float *weights, float *output) {
  size_t d = 0;
  for (; d + 4 * LANES <= head_dim; d += 4 * LANES) {
    f32x16 sums[4];
#pragma clang loop unroll(full)
    for (size_t k = 0; k < 4; k++) sums[k] = load(output + d + k * LANES);
    for (size_t i = 0; i < count; i++) {
      f32x16 weight = splat(weights[i]);
#pragma clang loop unroll(full)
      for (size_t k = 0; k < 4; k++)
        sums[k] = fma16(weight, widen16(values, element, i * head_dim + d + k * LANES), sums[k]);
    }
#pragma clang loop unroll(full)
    for (size_t k = 0; k < 4; k++) store(output + d + k * LANES, sums[k]);
  }
  for (; d < head_dim; d += LANES) {
    f32x16 sum = load_some(output + d, head_dim - d);
    for (size_t i = 0; i < count; i++)
      sum = fma16(splat(weights[i]), widen_some(values, element, i * head_dim + d, head_dim - d), sum);
    store_some(output + d, sum, head_dim - d);
  }
}

static void weighted_sum_float(const void *values, sp_element element, size_t count, size_t head_dim,
                               const float *weights, float *output) {
  if (element == SP_FLOAT32) weighted_sum_of(SP_FLOAT32, values, count, head_dim, weights, output);
  else weighted_sum_of(SP_FLOAT16, values, count, head_dim, weights, output);
}

static float maximum(const float *values, size_t count) {
  f32x16 largest = splat(-INFINITY);
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) largest = larger(load(values + i), largest);
  float result = horizontal_maximum(largest);
  for (; i < count; i++) result = values[i] > result ? values[i] : result;
  return result;
}

static float exponentiate(float *values, size_t count, float maximum) {
  f32x16 sum = splat(0);
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    f32x16 e = exponential(load(values + i) - splat(maximum));
    store(values + i, e);
    sum += e;
  }
  if (i < count) {
    f32x16 e = exponential(load_partial(values + i, count - i) - splat(maximum));
    store_partial(values + i, e, count - i);
    sum += load_partial(values + i, count - i);
  }
  return horizontal_sum(sum);
}

// ---- the rest of a layer ----

static float dot(const float *x, const float *y, size_t count) {
  f32x16 sum = splat(0);
  for (size_t i = 0; i < count; i += LANES)
    sum = fma16(load_some(x + i, count - i), load_some(y + i, count - i), sum);
  return horizontal_sum(sum);
}

static void rms_norm(const float *x, const float *weight, size_t count, float epsilon, float *output) {
  float factor = 1.0f / sqrtf(dot(x, x, count) / (float)count + epsilon);
  for (size_t i = 0; i < count; i += LANES)
    store_some(output + i, load_some(x + i, count - i) * splat(factor) * load_some(weight + i, count - i), count - i);
}

static void swiglu(float *gate, const float *up, size_t count) {
  for (size_t i = 0; i < count; i += LANES) {
    f32x16 x = load_some(gate + i, count - i);
    f32x16 y = x / (splat(1) + exponential(-x)) * load_some(up + i, count - i);
    store_some(gate + i, y, count - i);
  }
}

static void add(float *x, const float *y, size_t count) {
  for (size_t i = 0; i < count; i += LANES)
    store_some(x + i, load_some(x + i, count - i) + load_some(y + i, count - i), count - i);
}

static void scale(float *x, float factor, size_t count) {
  for (size_t i = 0; i < count; i += LANES)
    store_some(x + i, load_some(x + i, count - i) * splat(factor), count - i);
}

static void rotate(float *x, size_t heads, size_t head_dim, const float *cosines, const float *sines) {
  size_t half = head_dim / 2;
  for (size_t h = 0; h < heads; h++) {
    float *first = x + h * head_dim;
    float *second = first + half;
    for (size_t i = 0; i < half; i += LANES) {
      size_t left = half - i;
      f32x16 a = load_some(first + i, left), b = load_some(second + i, left);
      f32x16 c = load_some(cosines + i, left), s = load_some(sines + i, left);
      store_some(first + i, fma16(a, c, -(b * s)), left);
      store_some(second + i, fma16(b, c, a * s), left);
    }
  }
}

// ---- limits of the machine ----

static uint64_t peak_int8(size_t iterations) {
  i32x16 sums[SP_TOKENS];
  uint8_t tile_source[TILE_BYTES] = {1, 2, 3};
  tile_bytes tile = load_tile(tile_source);
#pragma clang loop unroll(full)
  for (size_t t = 0; t < SP_TOKENS; t++) sums[t] = splat_integer((int32_t)t);
  four_activations four = broadcast_four((int32_t)iterations);
  for (size_t i = 0; i < iterations; i++) {
#pragma clang loop unroll(full)
    for (size_t t = 0; t < SP_TOKENS; t++) sums[t] = dot_tile(sums[t], tile, four);
  }
  i32x16 total = splat_integer(0);
  for (size_t t = 0; t < SP_TOKENS; t++) total += sums[t];
  volatile int32_t keep = total[0];
  (void)keep;
  return (uint64_t)iterations * SP_TOKENS * TILE_BYTES * 2;
}

static uint64_t read_memory(const void *memory, size_t byte_count) {
  const char *bytes = memory;
  i32x16 sums[4] = {splat_integer(0), splat_integer(0), splat_integer(0), splat_integer(0)};
  for (size_t i = 0; i < byte_count; i += 4 * TILE_BYTES) {
#pragma clang loop unroll(full)
    for (size_t k = 0; k < 4; k++) {
      i32x16 x;
      memcpy(&x, bytes + i + k * TILE_BYTES, sizeof x);
      sums[k] ^= x;
    }
  }
  i32x16 total = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);
  uint64_t result = 0;
  for (int lane = 0; lane < LANES; lane++) result = result * 31 + (uint32_t)total[lane];
  return result;
}

const sp_kernels_table SP_SET = {
    .name = SP_SET_NAME,
    .quantize_row_block = quantize_row_block,
    .dequantize_row = dequantize_row,
    .widen = widen,
    .narrow_to_float16 = narrow_to_float16,
    .all_finite = all_finite,
    .quantize_activations = quantize_activations,
    .product_int8 = product_int8,
    .product_float = product_float,
    .scores_float = scores_float,
    .weighted_sum_float = weighted_sum_float,
    .maximum = maximum,
    .exponentiate = exponentiate,
    .rms_norm = rms_norm,
    .swiglu = swiglu,
    .add = add,
    .scale = scale,
    .rotate = rotate,
    .dot = dot,
    .peak_int8 = peak_int8,
    .read_memory = read_memory,
};
