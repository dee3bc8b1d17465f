// Conversions of elements, and quantization of weights and activations. Part of operations.h.

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

INLINE float largest_magnitude(const float *source, size_t count) {
  f32x16 largest = splat(0);
  for (size_t i = 0; i < count; i += LANES) largest = larger(largest, absolute(load_some(source + i, count - i)));
  return horizontal_maximum(largest);
}

// The factor that brings values to -127…127, or 0 where there is none. Scales of int4 may be negative.
INLINE float inverse_scale(float scale) {
  float inverse = scale != 0 ? 1.0f / scale : 0;
  return inverse >= -3.0e38f && inverse <= 3.0e38f ? inverse : 0;
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
