// Compares every operation of the processor's kernels with those of another set, bit by bit, on numbers from a seed. The
// Swift tests do the same natively; this is for processors that are emulated. Prints one line for each set; exits with 1
// if bits differ.
#include "CKernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;

static uint32_t bits32(void) {
  state += 0x9E3779B97F4A7C15;
  uint64_t z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return (uint32_t)(z >> 32);
}

static size_t below(size_t limit) { return bits32() % limit; }

// A sum of four is close enough to a normal distribution.
static float number(void) {
  float sum = 0;
  for (int i = 0; i < 4; i++) sum += (float)bits32() / 4294967296.0f - 0.5f;
  return sum;
}

static void *zeroed(size_t bytes) {
  void *memory = calloc(bytes + 64, 1);
  if (!memory) abort();
  return memory;
}

static float *numbers(size_t count) {
  float *result = zeroed(count * sizeof(float));
  for (size_t i = 0; i < count; i++) result[i] = number();
  return result;
}

static const sp_kernels_table *one, *other;
static int different = 0, compared = 0;

static void expect(const char *what, const void *x, const void *y, size_t bytes) {
  compared++;
  if (memcmp(x, y, bytes) == 0) return;
  if (different++ < 10) printf("compare: %s: %s differs from %s\n", what, other->name, one->name);
}

static sp_activations activations(size_t tokens, size_t columns, size_t group) {
  size_t groups = (columns + group - 1) / group, stride = (columns + 7) / 8 * 8;
  return (sp_activations){zeroed(tokens * stride), zeroed(tokens * groups * 4), zeroed(tokens * groups * 4),
                          tokens, columns, group, stride};
}

static void compare_products(void) {
  size_t rows = 1 + below(70), columns = 1 + below(300), tokens = 1 + below(15), group = 8 << below(5);
  size_t groups = (columns + group - 1) / group, blocks = (rows + 15) / 16, stride = blocks * 16;
  float *matrix = numbers(rows * columns), *input = numbers(tokens * columns);
  if (below(2)) matrix[below(rows * columns)] = 0x1p100f;
  if (below(2)) memset(input, 0, columns * sizeof(float));
  sp_activations a = activations(tokens, columns, group), b = activations(tokens, columns, group);
  one->quantize_activations(input, 0, tokens, a);
  other->quantize_activations(input, 0, tokens, b);
  expect("activations", a.values, b.values, tokens * a.stride);
  expect("scales of activations", a.scales, b.scales, tokens * groups * 4);
  expect("offsets of activations", a.offsets, b.offsets, tokens * groups * 4);
  for (int int4 = 0; int4 < 2; int4++) {
    sp_tile_layout layout = {int4 ? SP_INT4 : SP_INT8, columns, group};
    // Enough for either element.
    size_t bytes = (groups + 1) * (group * 16 + 64);
    uint8_t *x = zeroed(blocks * bytes), *y = zeroed(blocks * bytes);
    float *restored = zeroed(columns * 4), *again = zeroed(columns * 4);
    for (size_t block = 0; block < blocks; block++) {
      size_t some = rows - block * 16 < 16 ? rows - block * 16 : 16;
      const float *source = matrix + block * 16 * columns;
      one->quantize_row_block(layout, source, some, x + block * bytes);
      other->quantize_row_block(layout, source, some, y + block * bytes);
      one->dequantize_row(layout, x + block * bytes, some - 1, restored);
      other->dequantize_row(layout, x + block * bytes, some - 1, again);
      expect("restored row", restored, again, columns * 4);
    }
    expect(int4 ? "int4 tiles" : "int8 tiles", x, y, blocks * bytes);
    if (group <= 256) {
      size_t block_columns = 256 / group * group, some = rows < 16 ? rows : 16;
      float *coefficients = numbers(columns * block_columns);
      // As small as errors of roundings are, so that they do not grow from column to column.
      for (size_t i = 0; i < columns * block_columns; i++) coefficients[i] /= 16;
      sp_feedback feedback = {coefficients, block_columns};
      uint8_t *u = zeroed(bytes), *v = zeroed(bytes);
      one->quantize_row_block_with_feedback(layout, matrix, some, feedback, u);
      other->quantize_row_block_with_feedback(layout, matrix, some, feedback, v);
      expect(int4 ? "int4 tiles with feedback" : "int8 tiles with feedback", u, v, bytes);
    }
    for (int adds = 0; adds < 2; adds++) {
      float *p = numbers(tokens * stride), *q = zeroed(tokens * stride * 4);
      memcpy(q, p, tokens * stride * 4);
      sp_matrix tiles = {x, layout.element, rows, columns, group, bytes};
      one->product_packed(tiles, 0, blocks, a, (sp_output){p, stride, adds});
      other->product_packed(tiles, 0, blocks, a, (sp_output){q, stride, adds});
      expect(int4 ? "int4 product" : "int8 product", p, q, tokens * stride * 4);
      free(p), free(q);
    }
    free(x), free(y), free(restored), free(again);
  }
  uint16_t *halves = zeroed(rows * columns * 2);
  for (size_t i = 0; i < rows * columns; i++) halves[i] = (uint16_t)(bits32() & 0x8FFF) | 0x2000;
  const sp_element elements[] = {SP_FLOAT32, SP_FLOAT16, SP_BFLOAT16};
  for (int e = 0; e < 3; e++) {
    const void *source = elements[e] == SP_FLOAT32 ? (void *)matrix : halves;
    sp_matrix floats = {source, elements[e], rows, columns, 0, 0};
    float *p = zeroed(tokens * rows * 4), *q = zeroed(tokens * rows * 4);
    one->product_floats(floats, 0, blocks, input, tokens, (sp_output){p, rows, false});
    other->product_floats(floats, 0, blocks, input, tokens, (sp_output){q, rows, false});
    expect("product of floats", p, q, tokens * rows * 4);
    free(p), free(q);
  }
  free(matrix), free(input), free(halves);
  free(a.values), free(a.scales), free(a.offsets), free(b.values), free(b.scales), free(b.offsets);
}

// Some rows of int4 as attention takes them: the tiles of all row blocks, of channels where transposed, then the rows'
// scales.
static void pack_int4(const float *source, size_t rows, size_t dim, bool transposed, uint8_t *output) {
  size_t matrix_rows = transposed ? dim : rows, columns = transposed ? rows : dim;
  size_t bytes = (columns + 7) / 8 * 64, row_bytes = (dim + 7) / 8 * 64;
  uint8_t *packed = zeroed(row_bytes + 64), *scales = output + (matrix_rows + 15) / 16 * bytes;
  memset(output, 0x88, scales - output);
  for (size_t b = 0; b < rows; b += 16) {
    size_t some = rows - b < 16 ? rows - b : 16;
    one->quantize_row_block((sp_tile_layout){SP_INT4, dim, (dim + 7) / 8 * 8}, source + b * dim, some, packed);
    memcpy(scales + b * 2, packed, 32);
    for (size_t r = 0; r < some; r++)
      for (size_t d = 0; d < dim; d++) {
        uint8_t byte = packed[64 + d / 8 * 64 + 4 * r + d % 4], index = d % 8 < 4 ? byte & 15 : byte >> 4;
        size_t row = transposed ? d : b + r, column = transposed ? b + r : d;
        uint8_t *place = output + row / 16 * bytes + column / 8 * 64 + 4 * (row % 16) + column % 4;
        *place = (uint8_t)(column % 8 < 4 ? (*place & 0xF0) | index : (*place & 15) | index << 4);
      }
  }
  free(packed);
}

static void compare_int4_attention(void) {
  size_t dim = 1 + below(160), rows = 1 + below(300), count = 1 + below(70), block_rows = 16 << below(4);
  size_t blocks = (rows + block_rows - 1) / block_rows, columns = (dim + 3) / 4 * 4;
  size_t scale_bytes = block_rows * 2;
  size_t key_bytes = block_rows / 16 * ((dim + 7) / 8 * 64) + scale_bytes;
  size_t value_bytes = (dim + 15) / 16 * (block_rows * 8) + scale_bytes;
  uint8_t *keys = zeroed(blocks * key_bytes), *values = zeroed(blocks * value_bytes);
  float *source = numbers(2 * rows * dim);
  for (size_t block = 0; block < blocks; block++) {
    size_t first = block * block_rows, some = rows - first < block_rows ? rows - first : block_rows;
    pack_int4(source + first * dim, some, dim, false, keys + block * key_bytes);
    pack_int4(source + (rows + first) * dim, some, dim, true, values + block * value_bytes);
  }
  float *queries = numbers(count * dim);
  for (size_t i = 0; i < count * dim; i++) queries[i] *= 4;
  sp_activations q = activations(count, dim, columns);
  one->quantize_activations(queries, 0, count, q);
  sp_visible_rows visible = {0, (ptrdiff_t)(1 + below(rows)), below(3)};
  sp_packed_rows packed = {keys, values, SP_INT4, rows, block_rows, key_bytes, value_bytes, 0, visible};
  sp_attention a[2];
  float *given[2];
  const sp_kernels_table *sets[] = {one, other};
  for (int set = 0; set < 2; set++) {
    a[set] = (sp_attention){zeroed(count * 4), zeroed(count * 4), zeroed(count * dim * 4)};
    for (size_t i = 0; i < count; i++) a[set].maxima[i] = -INFINITY;
    sets[set]->attend_packed(packed, q, a[set]);
    given[set] = zeroed(rows * 4);
    sets[set]->weigh_packed(packed, q, a[0], given[set]);
  }
  expect("attention to int4 rows", a[0].maxima, a[1].maxima, count * 4);
  expect("attention to int4 rows", a[0].sums, a[1].sums, count * 4);
  expect("attention to int4 rows", a[0].outputs, a[1].outputs, count * dim * 4);
  expect("weights of int4 rows", given[0], given[1], rows * 4);
  for (int i = 0; i < 2; i++) free(a[i].maxima), free(a[i].sums), free(a[i].outputs), free(given[i]);
  free(keys), free(values), free(source), free(queries);
  free(q.values), free(q.scales), free(q.offsets);
}

static void compare_attention(void) {
  size_t dim = 4 * (1 + below(40)), rows = 1 + below(300), count = 1 + below(70), block_rows = 16 << below(4);
  size_t blocks = (rows + block_rows - 1) / block_rows, columns = (dim + 3) / 4 * 4;
  size_t key_bytes = block_rows / 16 * (columns * 16 + 64), channel_bytes = block_rows * 16 + 64;
  size_t value_bytes = (dim + 15) / 16 * channel_bytes;
  uint8_t *keys = zeroed(blocks * key_bytes), *values = zeroed(blocks * value_bytes);
  float *source = numbers(2 * rows * dim), *channels = zeroed(16 * block_rows * 4);
  sp_tile_layout key_layout = {SP_INT8, dim, columns};
  for (size_t block = 0; block < blocks; block++) {
    size_t first = block * block_rows, some = rows - first < block_rows ? rows - first : block_rows;
    for (size_t r = 0; r < some; r += 16)
      one->quantize_row_block(key_layout, source + (first + r) * dim, some - r < 16 ? some - r : 16,
                              keys + block * key_bytes + r / 16 * (columns * 16 + 64));
    for (size_t d = 0; d < dim; d += 16) {
      size_t part = dim - d < 16 ? dim - d : 16;
      for (size_t c = 0; c < part; c++)
        for (size_t r = 0; r < some; r++) channels[c * some + r] = source[rows * dim + (first + r) * dim + d + c];
      one->quantize_row_block((sp_tile_layout){SP_INT8, some, block_rows}, channels, part,
                              values + block * value_bytes + d / 16 * channel_bytes);
    }
  }
  float *queries = numbers(count * dim);
  for (size_t i = 0; i < count * dim; i++) queries[i] *= 4;
  sp_activations q = activations(count, dim, columns);
  one->quantize_activations(queries, 0, count, q);
  sp_visible_rows visible = {below(2) ? 0 : -(ptrdiff_t)below(20), (ptrdiff_t)(1 + below(rows)), below(3)};
  if (visible.queries_per_row == 0) visible.first = 0;
  sp_packed_rows packed = {keys, values, SP_INT8, rows, block_rows, key_bytes, value_bytes, channel_bytes,
                           visible};
  sp_float_rows floats = {
      .keys = source, .values = source + rows * dim, .element = SP_FLOAT32, .rows = rows, .visible = visible};
  int8_t *bytes = zeroed(2 * rows * dim);
  for (size_t i = 0; i < 2 * rows * dim; i++) bytes[i] = (int8_t)((int)below(255) - 127);
  float *scales = numbers(2 * rows);
  sp_float_rows scaled = {bytes, bytes + rows * dim, SP_INT8, scales, scales + rows, rows, visible};
  sp_attention a[4][2];
  const sp_kernels_table *sets[] = {one, other};
  for (int kind = 0; kind < 4; kind++) {
    for (int set = 0; set < 2; set++) {
      sp_attention *x = &a[kind][set];
      *x = (sp_attention){zeroed(count * 4), zeroed(count * 4), zeroed(count * dim * 4)};
      for (size_t i = 0; i < count; i++) x->maxima[i] = -INFINITY;
      if (kind == 0) sets[set]->attend_packed(packed, q, *x);
      if (kind == 1) sets[set]->attend_floats(floats, queries, count, dim, *x);
      if (kind == 2) sets[set]->attend_floats(scaled, queries, count, dim, *x);
      if (kind == 3) {
        sets[set]->merge_attention(a[0][0], count, dim, *x);
        sets[set]->merge_attention(a[1][0], count, dim, *x);
      }
    }
    const char *names[] = {"attention to packed rows", "attention to floats", "attention to int8 rows one by one",
                           "merged attention"};
    expect(names[kind], a[kind][0].maxima, a[kind][1].maxima, count * 4);
    expect(names[kind], a[kind][0].sums, a[kind][1].sums, count * 4);
    expect(names[kind], a[kind][0].outputs, a[kind][1].outputs, count * dim * 4);
  }
  for (int kind = 0; kind < 3; kind++) {
    float *given[2];
    for (int set = 0; set < 2; set++) {
      given[set] = zeroed(rows * 4);
      if (kind == 0) sets[set]->weigh_packed(packed, q, a[0][0], given[set]);
      else sets[set]->weigh_floats(kind == 1 ? floats : scaled, queries, count, dim, a[kind][0], given[set]);
    }
    const char *names[] = {"weights of packed rows", "weights of floats", "weights of int8 rows one by one"};
    expect(names[kind], given[0], given[1], rows * 4);
    free(given[0]), free(given[1]);
  }
  free(bytes), free(scales);
  for (int i = 0; i < 8; i++) free(a[i / 2][i % 2].maxima), free(a[i / 2][i % 2].sums), free(a[i / 2][i % 2].outputs);
  free(keys), free(values), free(source), free(channels), free(queries), free(q.values), free(q.scales), free(q.offsets);
}

static void compare_layer(void) {
  size_t count = 2 * (1 + below(200));
  float *x = numbers(count), *y = numbers(count), *p = zeroed(count * 4), *q = zeroed(count * 4);
  for (size_t i = 0; i < count; i++) x[i] *= (float)(1 << below(8));
#define BOTH(what, call) \
  memcpy(p, x, count * 4), memcpy(q, x, count * 4); \
  { const sp_kernels_table *k = one; float *v = p; call; } \
  { const sp_kernels_table *k = other; float *v = q; call; } \
  expect(what, p, q, count * 4)
  BOTH("rms_norm", k->rms_norm(x, y, count, 1e-5f, v));
  BOTH("swiglu", k->swiglu(v, y, count));
  BOTH("scale", k->scale(v, 0.37f, count));
  BOTH("rotate", k->rotate(v, 1, count, y, y + count / 2));
  BOTH("all_finite", v[0] = k->all_finite(x, count));
  free(x), free(y), free(p), free(q);
}

static void compare_halves(void) {
  const size_t count = 65536;
  uint16_t *halves = zeroed(count * 2), *narrow = zeroed(count * 2), *again = zeroed(count * 2);
  float *p = zeroed(count * 4), *q = zeroed(count * 4);
  for (size_t i = 0; i < count; i++) {
    // Infinities are compared, not-a-number is not: its fraction is nobody's promise.
    halves[i] = (i & 0x7C00) == 0x7C00 ? i & 0xFC00 : (uint16_t)i;
    do {
      uint32_t bits = bits32();
      if (below(2)) bits = (bits & 0x8FFFFFFF) | 0x30000000;  // Near what float16 can hold.
      memcpy(&p[i], &bits, sizeof bits);
    } while (isnan(p[i]));
  }
  one->narrow_to_float16(p, count, narrow);
  other->narrow_to_float16(p, count, again);
  expect("float16 from float32", narrow, again, count * 2);
  for (int e = SP_FLOAT16; e <= SP_BFLOAT16; e++) {
    one->widen(halves, (sp_element)e, count, p);
    other->widen(halves, (sp_element)e, count, q);
    expect("float32 from 16 bits", p, q, count * 4);
  }
  free(halves), free(narrow), free(again), free(p), free(q);
}

// The set that others are compared with: the portable one, or one that the processor's own tests have proved.
#ifndef REFERENCE
#define REFERENCE "portable"
#endif
#ifndef ROUNDS
#define ROUNDS 60
#endif

int main(void) {
  const sp_kernels_table *tables[8];
  size_t count = sp_available_kernels(tables, 8), first = 0;
  while (first < count && strcmp(tables[first]->name, REFERENCE) != 0) first++;
  if (first + 1 >= count) {
    printf("compare: this processor has nothing better than the kernels of %s\n", tables[count - 1]->name);
    return 1;
  }
  one = tables[first];
  for (size_t i = first + 1; i < count; i++) {
    other = tables[i];
    compared = 0, state = 1;
    for (int round = 0; round < ROUNDS; round++)
      compare_products(), compare_attention(), compare_int4_attention(), compare_layer();
    compare_halves();
    printf("compare: %s: %d comparisons with %s\n", other->name, compared, one->name);
  }
  if (different) printf("compare: %d of them differ\n", different);
  return different != 0;
}
