// Quantization of weights in which columns make up for the errors of those before them. Part of operations.h.

// Columns of a block, at most.
#define FEEDBACK_COLUMNS 256

// A row block whose columns are rounded one after the other. A column's values are vectors: one lane a row.
INLINE bool quantize_with_feedback(const packed_form form, const float *source, size_t rows, size_t columns,
                                   size_t group_size, const float *feedback, size_t block_columns, uint8_t *output) {
  if (!all_finite(source, rows * columns)) return false;
  const size_t step = tile_columns(form);
  f32x16 exact[FEEDBACK_COLUMNS], wanted[FEEDBACK_COLUMNS];
  for (size_t block = 0; block < columns; block += block_columns) {
    size_t width = columns - block < block_columns ? columns - block : block_columns;
    for (size_t c = 0; c < width; c++) {
      float column[LANES] = {0};
      for (size_t r = 0; r < rows; r++) column[r] = source[r * columns + block + c];
      exact[c] = wanted[c] = load(column);
    }
    for (size_t start = 0; start < width; start += group_size) {
      size_t count = width - start < group_size ? width - start : group_size;
      size_t group = (block + start) / group_size;
      group_place place = place_of_group(form, group, group_size, count);
      uint8_t *tiles = output + place.tiles;
      if (form == INT4 && group % 2 == 0) memset(output + place.scales, 0, TILE_BYTES);
      memset(tiles, form == INT8 ? 128 : ZERO_NIBBLES, (count + step - 1) / step * TILE_BYTES);
      // The scales of what the columns are to be by now, with what those before them have left.
      float scales[LANES] = {0}, inverses[LANES] = {0};
      for (size_t r = 0; r < rows; r++) {
        float row[FEEDBACK_COLUMNS];
        for (size_t c = 0; c < count; c++) row[c] = wanted[start + c][r];
        float scale = form == INT8 ? largest_magnitude(row, count) / 127.0f : search_scale(row, count);
        inverses[r] = inverse_scale(scale);
        if (inverses[r] != 0) scales[r] = scale;
      }
      store_scales(form, output + place.scales, scales);
      f32x16 scale = load(scales), inverse = load(inverses);
      for (size_t c = 0; c < count; c++) {
        size_t place_in_block = start + c;
        f32x16 scaled = wanted[place_in_block] * inverse;
        i32x16 rounded = form == INT8 ? quantize16(scaled, 1) : nearest_index(scaled);
        f32x16 value = (form == INT8 ? to_float(rounded) : nearest_level(scaled)) * scale;
        u8x16 codes = __builtin_convertvector(form == INT8 ? rounded + 128 : rounded, u8x16);
        uint8_t *tile = tiles + c / step * TILE_BYTES + c % 4;
        for (size_t r = 0; r < rows; r++) {
          uint8_t *byte = tile + 4 * r;
          if (form == INT8) *byte = codes[r];
          else if (c / 4 % 2 == 0) *byte = (uint8_t)((*byte & 0xF0) | codes[r]);
          else *byte = (uint8_t)((*byte & 0x0F) | codes[r] << 4);
        }
        f32x16 error = exact[place_in_block] - value;
        const float *row = feedback + (block + place_in_block) * block_columns;
        for (size_t k = place_in_block + 1; k < width; k++) wanted[k] = fma16(error, splat(row[k]), wanted[k]);
      }
    }
  }
  return true;
}

static bool quantize_row_block_with_feedback(const float *source, size_t rows, size_t columns, size_t group_size,
                                             const float *feedback, size_t block_columns, uint8_t *output) {
  return quantize_with_feedback(INT8, source, rows, columns, group_size, feedback, block_columns, output);
}

static bool quantize_row_block_int4_with_feedback(const float *source, size_t rows, size_t columns, size_t group_size,
                                                  const float *feedback, size_t block_columns, uint8_t *output) {
  return quantize_with_feedback(INT4, source, rows, columns, group_size, feedback, block_columns, output);
}
