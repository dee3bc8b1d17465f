// Products of matrices of one group, as keys and values are: there is nothing to add up between groups, so that a register
// block's sums go straight to the output. Part of operations.h.

#define NOINLINE static __attribute__((noinline))

// Activations of whole register blocks of tokens, in the form that products take.
typedef struct prepared_tokens {
  const activation *values;
  size_t block_distance;  // from one register block to the next
} prepared_tokens;

// room: for tokens · columns, a multiple of 4.
INLINE prepared_tokens prepare_tokens(sp_activations a, size_t tokens, size_t columns, activation *room) {
#if SP_PREPARES
  for (size_t t = 0; t + SP_TOKENS <= tokens; t += SP_TOKENS)
    prepare_activations(a.values + t * a.stride, a.stride, columns, room + t * columns);
  return (prepared_tokens){room, SP_TOKENS * columns};
#else
  return (prepared_tokens){a.values, SP_TOKENS * a.stride};
#endif
}

// A register block: all SP_TOKENS tokens × `blocks` row blocks. output: (tokens, stride), with room for whole row blocks.
INLINE void block_of_group(const size_t blocks, const bool accumulate, const uint8_t *tiles, size_t row_block_bytes,
                           size_t width, sp_activations a, size_t token, const activation *prepared, float *output,
                           size_t stride) {
  i32x16 total[SP_TOKENS][SP_ROW_BLOCKS];
#pragma clang loop unroll(full)
  for (size_t t = 0; t < SP_TOKENS; t++)
#pragma clang loop unroll(full)
    for (size_t b = 0; b < blocks; b++) total[t][b] = first_sums(a, token + t);
  add_group(INT8, SP_TOKENS, blocks, tiles, row_block_bytes, width, prepared, TOKEN_DISTANCE(a), total);
#pragma clang loop unroll(full)
  for (size_t b = 0; b < blocks; b++) {
    f32x16 scales = load_scales(INT8, tiles + b * row_block_bytes + width * LANES);
#pragma clang loop unroll(full)
    for (size_t t = 0; t < SP_TOKENS; t++) {
      f32x16 product = fma16(to_float(total[t][b]), scales * splat(a.scales[token + t]), splat(0));
      float *place = output + t * stride + b * LANES;
      store(place, accumulate ? load(place) + product : product);
    }
  }
}

// Further than for weights: between keys and values there are the weights of the softmax, while memory should not wait.
// Chosen on a Zen 3 among 1024 to 12288.
#define ROW_BYTES_AHEAD 2048

// The products of tokens first ..< last, one by one.
NOINLINE void singles_of_group(const uint8_t *matrix, size_t row_block_bytes, size_t rows, size_t columns,
                               sp_activations a, size_t first, size_t last, float *output, size_t stride,
                               bool accumulate) {
  size_t width = (columns + 3) / 4 * 4;
  for (size_t row = 0; row < rows; row += LANES) {
    const uint8_t *tiles = matrix + row / LANES * row_block_bytes;
    for (size_t t = first; t < last; t++)
      put(output + t * stride + row, single_packed(INT8, tiles, columns, width, 1, a, t, ROW_BYTES_AHEAD), rows - row,
          accumulate);
  }
}

// The product of a matrix and some tokens, of which the whole register blocks are prepared.
INLINE void product_of_group(const bool accumulate, const uint8_t *matrix, size_t row_block_bytes, size_t rows,
                             size_t columns, sp_activations a, prepared_tokens prepared, size_t tokens, float *output,
                             size_t stride) {
  size_t width = (columns + 3) / 4 * 4;
  size_t whole_tokens = tokens / SP_TOKENS * SP_TOKENS;
  // The last rows of a matrix may be less than a row block, and their output less than there is room for.
  size_t whole_rows = rows / LANES * LANES;
  for (size_t row = 0; row < whole_rows;) {
    const size_t pair = SP_ROW_BLOCKS * LANES;
    bool paired = SP_ROW_BLOCKS > 1 && whole_rows - row >= pair;
    const uint8_t *tiles = matrix + row / LANES * row_block_bytes;
    for (size_t t = 0; t < whole_tokens; t += SP_TOKENS) {
#define BLOCK(B)                                                                        \
  block_of_group(B, accumulate, tiles, row_block_bytes, width, a, t,                    \
                 prepared.values + t / SP_TOKENS * prepared.block_distance, output + t * stride + row, stride)
      if (paired) BLOCK(SP_ROW_BLOCKS);
      else BLOCK(1);
#undef BLOCK
    }
    row += paired ? pair : LANES;
  }
  if (whole_rows < rows)
    product_int8(matrix, row_block_bytes, whole_rows / LANES, whole_rows / LANES + 1, rows, columns, width, a,
                 whole_tokens, output, stride, accumulate);
  // Of what is left, four tokens and more make smaller register blocks.
  if (tokens - whole_tokens >= 4) {
    sp_activations rest = {a.values + whole_tokens * a.stride, a.scales + whole_tokens, a.offsets + whole_tokens,
                           a.stride};
    product_int8(matrix, row_block_bytes, 0, (rows + LANES - 1) / LANES, rows, columns, width, rest,
                 tokens - whole_tokens, output + whole_tokens * stride, stride, accumulate);
  } else {
    singles_of_group(matrix, row_block_bytes, rows, columns, a, whole_tokens, tokens, output, stride, accumulate);
  }
}

// Functions of their own, so that the sums in their loops get all registers.
NOINLINE void set_product_of_group(const uint8_t *matrix, size_t row_block_bytes, size_t rows, size_t columns,
                                   sp_activations a, prepared_tokens prepared, size_t tokens, float *output,
                                   size_t stride) {
  product_of_group(false, matrix, row_block_bytes, rows, columns, a, prepared, tokens, output, stride);
}

NOINLINE void add_product_of_group(const uint8_t *matrix, size_t row_block_bytes, size_t rows, size_t columns,
                                   sp_activations a, prepared_tokens prepared, size_t tokens, float *output,
                                   size_t stride) {
  product_of_group(true, matrix, row_block_bytes, rows, columns, a, prepared, tokens, output, stride);
}
