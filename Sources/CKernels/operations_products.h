// Products of matrices and activations. Part of operations.h.

// Where the sums of a token and a group start: undoes the offset of the tiles' bytes.
INLINE i32x16 first_sums(sp_activations a, size_t index) {
  return splat_integer(SP_SIGNED_TILES ? 0 : a.offsets[index]);
}

// The k-th four columns behind `tiles`; k is a constant.
INLINE tile_bytes load_columns(const packed_form form, const uint8_t *tiles, const size_t k) {
  return form == INT4 ? load_nibbles(tiles + k / 2 * TILE_BYTES, k % 2) : load_tile(tiles + k * TILE_BYTES);
}

INLINE size_t smaller_size(size_t x, size_t y) { return x < y ? x : y; }

// Groups of columns first ..< last.
typedef struct group_range {
  size_t first, last;
} group_range;

#if !SP_PREPARES
typedef int8_t activation;

INLINE four_activations load_four(const int8_t *activations) {
  int32_t four;
  memcpy(&four, activations, sizeof four);
  return broadcast_four(four);
}
#endif

// Products of several tokens take activations in a form of the set's own: four columns of a token are TOKEN_DISTANCE
// behind those of the token before, and four times COLUMN_DISTANCE behind the four columns before.
#if SP_PREPARES
// Row blocks that meet some tokens before the next tokens come: they share what was prepared.
#define BLOCKS_TOGETHER 16

// Tokens of some register blocks are prepared together, in as many columns as there is room for: they and a row block's
// tiles stay in the nearest cache, and what the next one delivers counts a fraction.
#define TOKENS_TOGETHER (4 * SP_TOKENS)
// Of activations. A group has 4096 columns at most.
#define ROOM (4096 * SP_TOKENS)
#define TOKEN_DISTANCE(a) 4
#define COLUMN_DISTANCE SP_TOKENS

INLINE size_t tokens_together(size_t tokens, size_t group_size) {
  return smaller_size(smaller_size(tokens, TOKENS_TOGETHER), ROOM / group_size) / SP_TOKENS * SP_TOKENS;
}

INLINE group_range next_groups(group_range done, size_t groups, size_t group_size, size_t tokens) {
  return (group_range){done.last, smaller_size(groups, done.last + ROOM / tokens / group_size)};
}

// The activations of a register block.
INLINE const activation *prepare(sp_activations a, size_t token, size_t group_size, group_range groups,
                                 activation *room) {
  size_t start = groups.first * group_size;
  size_t end = smaller_size(groups.last * group_size, a.stride);
  prepare_activations(a.values + token * a.stride + start, a.stride, end - start, room);
  return room;
}
#else
// Products take them as they are.
#define BLOCKS_TOGETHER SP_ROW_BLOCKS
#define TOKENS_TOGETHER SP_TOKENS
#define ROOM 1
#define TOKEN_DISTANCE(a) ((a).stride)
#define COLUMN_DISTANCE 1

INLINE size_t tokens_together(size_t tokens, size_t group_size) { return SP_TOKENS; }

INLINE group_range next_groups(group_range done, size_t groups, size_t group_size, size_t tokens) {
  return (group_range){0, groups};
}

INLINE const activation *prepare(sp_activations a, size_t token, size_t group_size, group_range groups,
                                 activation *room) {
  return a.values + token * a.stride;
}
#endif

// Adds the products of a group and a register block. tiles: of the group and the first row block. values: the group's
// activations of the first token, distance from one token to the next.
INLINE void add_group(const packed_form form, const size_t tokens, const size_t blocks, const uint8_t *tiles,
                      size_t row_block_bytes, size_t width, const activation *values, size_t distance,
                      i32x16 total[SP_TOKENS][SP_ROW_BLOCKS]) {
  const size_t step = tile_columns(form);
  // int4 has a loop for the low nibbles and one for the high ones: unrolled into one they need too many registers.
#pragma clang loop unroll(full)
  for (size_t k = 0; k < step / 4; k++) {
    // Four tokens to a pointer: their distances are what an address can express.
    const activation *places[(SP_TOKENS + 3) / 4];
    for (size_t t = 0; t < tokens; t += 4) places[t / 4] = values + t * distance + 4 * k * COLUMN_DISTANCE;
    for (size_t c = 0; c < width; c += step) {
      tile_bytes tile[SP_ROW_BLOCKS];
#pragma clang loop unroll(full)
      for (size_t b = 0; b < blocks; b++)
        tile[b] = load_columns(form, tiles + b * row_block_bytes + c * column_bytes(form), k);
#pragma clang loop unroll(full)
      for (size_t t = 0; t < tokens; t++) {
        four_activations four = load_four(places[t / 4] + t % 4 * distance);
#pragma clang loop unroll(full)
        for (size_t b = 0; b < blocks; b++) total[t][b] = dot_tile(total[t][b], tile[b], four);
      }
#pragma clang loop unroll(full)
      for (size_t t = 0; t < tokens; t += 4) places[t / 4] += step * COLUMN_DISTANCE;
    }
  }
}

// A register block: `tokens` × `blocks` row blocks, both constants where it is called. What a range of groups yields is
// added to the sums of the groups before it. prepared: activations of the first token from the first group on. sums: from
// that token on.
INLINE void block_packed(const packed_form form, const size_t tokens, const size_t blocks, const uint8_t *matrix,
                         size_t row_block_bytes, size_t columns, size_t group_size, size_t groups, group_range range,
                         sp_activations a, size_t token, const activation *prepared, float (*sums)[LANES]) {
  const size_t step = tile_columns(form);
  size_t padded = (columns + step - 1) / step * step;
  for (size_t g = range.first; g < range.last; g++) {
    size_t start = g * group_size;
    size_t width = padded - start < group_size ? padded - start : group_size;
    group_place place = place_of_group(form, g, group_size, width);
    i32x16 total[SP_TOKENS][SP_ROW_BLOCKS];
#pragma clang loop unroll(full)
    for (size_t t = 0; t < tokens; t++)
#pragma clang loop unroll(full)
      for (size_t b = 0; b < blocks; b++) total[t][b] = first_sums(a, (token + t) * groups + g);
    add_group(form, tokens, blocks, matrix + place.tiles, row_block_bytes, width,
              prepared + (start - range.first * group_size) * COLUMN_DISTANCE, TOKEN_DISTANCE(a), total);
#pragma clang loop unroll(full)
    for (size_t b = 0; b < blocks; b++) {
      f32x16 scales = load_scales(form, matrix + place.scales + b * row_block_bytes);
#pragma clang loop unroll(full)
      for (size_t t = 0; t < tokens; t++) {
        f32x16 factor = scales * splat(a.scales[(token + t) * groups + g]);
        float *place = sums[b * TOKENS_TOGETHER + t];
        f32x16 sum = g == 0 ? splat(0) : load(place);
        store(place, fma16(to_float(total[t][b]), factor, sum));
      }
    }
  }
}

// Adds the products of some columns (a constant), each four to a sum of its own.
INLINE void add_columns(const packed_form form, const size_t columns, const uint8_t *tiles, const int8_t *values,
                        i32x16 total[4]) {
#pragma clang loop unroll(full)
  for (size_t k = 0; k < columns / 4; k++) {
    int32_t four;
    memcpy(&four, values + 4 * k, sizeof four);
    total[k] = dot_tile(total[k], load_columns(form, tiles, k), broadcast_four(four));
  }
}

// Memory that is asked for this far ahead of its use: processors look ahead by themselves, but not into the next page,
// and the pages of a mapped file are small. Behind the end of a matrix nothing is read: such a request is no access.
// Chosen on a Zen 3: for int8 among 512 to 8192 bytes, for int4 among 1024 to 4096.
INLINE size_t bytes_ahead(const packed_form form) { return form == INT4 ? 4096 : 1280; }

// One token and one row block: four chains of sums hide the latency of the dot product. ahead: bytes_ahead of the matrix.
INLINE f32x16 single_packed(const packed_form form, const uint8_t *matrix, size_t columns, size_t group_size,
                            size_t groups, sp_activations a, size_t token, const size_t ahead) {
  f32x16 sum = splat(0);
  const size_t step = tile_columns(form);
  size_t padded = (columns + step - 1) / step * step;
  for (size_t g = 0; g < groups; g++) {
    size_t start = g * group_size;
    size_t width = padded - start < group_size ? padded - start : group_size;
    group_place place = place_of_group(form, g, group_size, width);
    const uint8_t *tiles = matrix + place.tiles;
    const int8_t *values = a.values + token * a.stride + start;
    i32x16 total[4] = {first_sums(a, token * groups + g), splat_integer(0), splat_integer(0), splat_integer(0)};
    size_t c = 0;
    for (; c + 16 <= width; c += 16) {
      const uint8_t *next = tiles + c * column_bytes(form);
#pragma clang loop unroll(full)
      for (size_t line = 0; line < 16 * column_bytes(form); line += TILE_BYTES)
        __builtin_prefetch(next + ahead + line);
      add_columns(form, 16, next, values + c, total);
    }
    for (; c < width; c += step) add_columns(form, step, tiles + c * column_bytes(form), values + c, total);
    f32x16 factor = load_scales(form, matrix + place.scales) * splat(a.scales[token * groups + g]);
    sum = fma16(to_float((total[0] + total[1]) + (total[2] + total[3])), factor, sum);
  }
  return sum;
}

INLINE void put(float *output, f32x16 x, size_t count, bool accumulate) {
  if (accumulate) x = load_some(output, count) + x;
  store_some(output, x, count);
}

INLINE void product_packed(const packed_form form, const uint8_t *matrix, size_t row_block_bytes, size_t first_block,
                           size_t last_block, size_t rows, size_t columns, size_t group_size, sp_activations a,
                           size_t tokens, float *output, size_t output_stride, bool accumulate) {
  size_t groups = (columns + group_size - 1) / group_size;
  float sums[BLOCKS_TOGETHER][TOKENS_TOGETHER][LANES];
  activation room[ROOM] __attribute__((aligned(64)));
  // Few tokens wait for memory, which comes fastest in one stream.
  size_t together = tokens < SP_TOKENS ? 1 : BLOCKS_TOGETHER;
  for (size_t first = first_block; first < last_block;) {
    size_t blocks = smaller_size(last_block - first, together);
    for (size_t token = 0; token < tokens;) {
      size_t left = tokens - token;
      size_t some = left >= SP_TOKENS ? SP_TOKENS : SP_TOKENS > 8 && left >= 8 ? 8 : left >= 4 ? 4 : 1;
      size_t all = some == SP_TOKENS ? tokens_together(left, group_size) : some;
      if (some == 1) {
        for (size_t b = 0; b < blocks; b++)
          store(sums[b][0], single_packed(form, matrix + (first + b) * row_block_bytes, columns, group_size, groups, a,
                                          token, bytes_ahead(form)));
      } else {
        group_range range = {0, 0};
        while (range.last < groups) {
          range = next_groups(range, groups, group_size, all);
          const activation *prepared[TOKENS_TOGETHER / SP_TOKENS];
          size_t room_each = (range.last - range.first) * group_size * SP_TOKENS;
          for (size_t i = 0; i * some < all; i++)
            prepared[i] = prepare(a, token + i * some, group_size, range, room + i * room_each);
          for (size_t b = 0; b < blocks;) {
            const uint8_t *tiles = matrix + (first + b) * row_block_bytes;
            bool whole = SP_ROW_BLOCKS > 1 && blocks - b >= SP_ROW_BLOCKS;
            for (size_t i = 0; i * some < all; i++) {
#define BLOCK(T, B)                                                                                         \
  block_packed(form, T, B, tiles, row_block_bytes, columns, group_size, groups, range, a, token + i * some, \
               prepared[i], sums[b] + i * some)
              if (whole) {
                if (some == SP_TOKENS) BLOCK(SP_TOKENS, SP_ROW_BLOCKS);
                else if (some == 8) BLOCK(8, SP_ROW_BLOCKS);
                else BLOCK(4, SP_ROW_BLOCKS);
              } else {
                if (some == SP_TOKENS) BLOCK(SP_TOKENS, 1);
                else if (some == 8) BLOCK(8, 1);
                else BLOCK(4, 1);
              }
#undef BLOCK
            }
            b += whole ? SP_ROW_BLOCKS : 1;
          }
        }
      }
      for (size_t t = 0; t < all; t++)
        for (size_t b = 0; b < blocks; b++) {
          size_t row = (first + b) * LANES;
          put(output + (token + t) * output_stride + row, load(sums[b][t]), rows - row, accumulate);
        }
      token += all;
    }
    first += blocks;
  }
}

static void product_int8(const uint8_t *matrix, size_t row_block_bytes, size_t first_block, size_t last_block,
                         size_t rows, size_t columns, size_t group_size, sp_activations a, size_t tokens, float *output,
                         size_t output_stride, bool accumulate) {
  product_packed(INT8, matrix, row_block_bytes, first_block, last_block, rows, columns, group_size, a, tokens, output,
                 output_stride, accumulate);
}

static void product_int4(const uint8_t *matrix, size_t row_block_bytes, size_t first_block, size_t last_block,
                         size_t rows, size_t columns, size_t group_size, sp_activations a, size_t tokens, float *output,
                         size_t output_stride, bool accumulate) {
  product_packed(INT4, matrix, row_block_bytes, first_block, last_block, rows, columns, group_size, a, tokens, output,
                 output_stride, accumulate);
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
