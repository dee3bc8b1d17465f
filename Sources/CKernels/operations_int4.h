// Quantization of 4-bit weights. Part of operations.h.

#define LEVELS 16
// The index of level 0, in both nibbles of a byte.
#define ZERO_NIBBLES 0x88

INLINE int32_t level(int index) { return (int32_t)level_bytes[index] - 128; }

INLINE f32x16 border(int index) { return splat((float)(level(index) + level(index + 1)) / 2); }

// The index of the nearest level: how many borders between two levels a value exceeds.
INLINE i32x16 nearest_index(f32x16 x) {
  i32x16 index = splat_integer(0);
#pragma clang loop unroll(full)
  for (int i = 0; i < LEVELS - 1; i++) index -= x > border(i);
  return index;
}

INLINE f32x16 nearest_level(f32x16 x) {
  i32x16 nearest = splat_integer(level(0));
#pragma clang loop unroll(full)
  for (int i = 0; i < LEVELS - 1; i++) nearest += (x > border(i)) & splat_integer(level(i + 1) - level(i));
  return to_float(nearest);
}

// How levels l fit values x: the scale that is best for them is xl / ll, and leaves the squared error Σ x² - xl² / ll.
typedef struct level_fit {
  float xl, ll;
} level_fit;

// The fit of the levels nearest to x · factor, x being the source's values · unit.
INLINE level_fit fit_levels(const float *source, size_t count, float unit, float factor) {
  f32x16 xl = splat(0), ll = splat(0);
  for (size_t c = 0; c < count; c += LANES) {
    f32x16 x = load_some(source + c, count - c) * splat(unit);
    f32x16 l = nearest_level(x * splat(factor));
    xl = fma16(x, l, xl);
    ll = fma16(l, l, ll);
  }
  return (level_fit){horizontal_sum(xl), horizontal_sum(ll)};
}

// Where the search puts the value of the largest magnitude on the scale of the levels. Chosen on normally distributed
// groups of 64, each so that with those before it the error is the least.
static const float attempts[] = {-128, -136, -120, 112, -140, 108, -124, 120};

// The scale of a group, of either sign and representable in bfloat16; 0 where there is none.
INLINE float search_scale(const float *source, size_t count) {
  float largest = largest_magnitude(source, count);
  // The search is in -1…1, so that no square overflows.
  float unit = inverse_scale(largest);
  if (unit == 0) return 0;
  f32x16 maximum = splat(0);
  for (size_t c = 0; c < count; c += LANES) maximum = larger(maximum, load_some(source + c, count - c));
  float sign = horizontal_maximum(maximum) == largest ? 1 : -1;
  level_fit best = {0, 1};
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    level_fit fit = fit_levels(source, count, unit, sign * attempts[i]);
    if (fit.xl * fit.xl * best.ll > best.xl * best.xl * fit.ll) best = fit;
  }
  // The best scale of the best levels has nearest levels of its own, which are no worse.
  best = fit_levels(source, count, unit, best.ll / best.xl);
  float scale = best.xl / best.ll * largest;
  uint32_t bits;
  memcpy(&bits, &scale, sizeof bits);
  bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000;
  memcpy(&scale, &bits, sizeof scale);
  return scale;
}

static bool quantize_row_block_int4(const float *source, size_t rows, size_t columns, size_t group_size,
                                    uint8_t *output) {
  if (!all_finite(source, rows * columns)) return false;
  const size_t step = tile_columns(INT4);
  for (size_t g = 0; g * group_size < columns; g++) {
    size_t start = g * group_size;
    size_t count = columns - start < group_size ? columns - start : group_size;
    group_place place = place_of_group(INT4, g, group_size, count);
    uint8_t *tiles = output + place.tiles;
    float scales[LANES] = {0};
    if (g % 2 == 0) memset(output + place.scales, 0, TILE_BYTES);
    memset(tiles, ZERO_NIBBLES, (count + step - 1) / step * TILE_BYTES);
    for (size_t r = 0; r < rows; r++) {
      const float *row = source + r * columns + start;
      float scale = search_scale(row, count);
      float inverse = inverse_scale(scale);
      if (inverse == 0) continue;
      scales[r] = scale;
      for (size_t c = 0; c < count; c += LANES) {
        // Lanes behind the last column have level 0, as padding has.
        u8x16 indices = __builtin_convertvector(nearest_index(load_some(row + c, count - c) * splat(inverse)), u8x16);
        uint8_t index[LANES];
        memcpy(index, &indices, sizeof index);
        for (size_t k = 0; k < LANES && c + k < count; k += step)
          for (size_t i = 0; i < 4; i++)
            tiles[(c + k) / step * TILE_BYTES + 4 * r + i] = (uint8_t)(index[k + i] | index[k + 4 + i] << 4);
      }
    }
    store_scales(INT4, output + place.scales, scales);
  }
  return true;
}

static void dequantize_row_int4(const uint8_t *row_block, size_t row, size_t columns, size_t group_size,
                                float *output) {
  const size_t step = tile_columns(INT4);
  for (size_t g = 0; g * group_size < columns; g++) {
    size_t start = g * group_size;
    size_t count = columns - start < group_size ? columns - start : group_size;
    group_place place = place_of_group(INT4, g, group_size, count);
    float scale = load_scales(INT4, row_block + place.scales)[row];
    for (size_t c = 0; c < count; c++) {
      uint8_t nibbles = row_block[place.tiles + c / step * TILE_BYTES + 4 * row + c % 4];
      output[start + c] = (float)level(c / 4 % 2 ? nibbles >> 4 : nibbles & 15) * scale;
    }
  }
}
