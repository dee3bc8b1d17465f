// The packed-tile products and the vector operations around them.
//
// Every operation exists once per instruction set; `sp_kernels()` picks the best that the processor has. Results do not
// depend on the choice: integer sums are exact, and float operations are done in one order with fused multiply-adds
// that every instruction set rounds alike. They do not depend on how many tokens are processed together either.
//
// Format of int8 and int4 matrices: Formats/packed-tile.md. All sizes are in elements unless a name says bytes.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The version of the numbers that the operations compute. Stores keep rows that they made: raise it with every change
/// of a result's bits, together with the sum in NumericsTests.swift, and stores of other versions are refused.
#define SP_NUMERICS_VERSION 2

/// Element type of a matrix or an array.
typedef enum sp_element {
  SP_FLOAT32 = 1,
  SP_FLOAT16 = 2,
  SP_BFLOAT16 = 3,
  SP_INT8 = 4,  // in packed tiles
  SP_INT4 = 5,  // in packed tiles
} sp_element;

/// A matrix (rows, columns): packed tiles of int8 or int4, or row-major floats.
typedef struct sp_matrix {
  const void *values;
  sp_element element;
  size_t rows;
  size_t columns;
  size_t group_size;       // of packed tiles: columns that share a scale
  size_t row_block_bytes;  // of packed tiles: from one row block to the next, which may be more than a row block has
} sp_matrix;

/// How the rows of a matrix are packed into tiles.
typedef struct sp_tile_layout {
  sp_element element;  // int8 or int4
  size_t columns;
  size_t group_size;
} sp_tile_layout;

/// How the columns of a matrix make up for the rounding errors of the columns before them in their block.
typedef struct sp_feedback {
  const float *coefficients;  // (columns, block_columns): in row j, column k of a block: the factor of column j's error
                              // that is added to column k > j before that one is rounded
  size_t block_columns;       // at most 256, a multiple of the group size
} sp_feedback;

/// Activations of some tokens, quantized to int8 per token and group of columns.
typedef struct sp_activations {
  int8_t *values;     // (tokens, stride), zero behind the last column
  float *scales;      // (tokens, groups)
  int32_t *offsets;   // (tokens, groups): -128 times the sum of the group's values, for the tiles' offset of 128
  size_t tokens;
  size_t columns;
  size_t group_size;
  size_t stride;      // columns rounded up to a multiple of 4 at least, of 8 for products with int4
} sp_activations;

/// Where a product goes.
typedef struct sp_output {
  float *values;    // (tokens, stride)
  size_t stride;
  bool accumulate;  // whether the product is added to what is there
} sp_output;

/// Rows of a block of packed rows, at most.
#define SP_ATTENTION_BLOCK_ROWS 128

/// The rows that queries see: query i those from `first + i / queries_per_row` on and before `end + i /
/// queries_per_row`, as far as they are there; with 0 queries per row all queries see the same.
typedef struct sp_visible_rows {
  ptrdiff_t first;
  ptrdiff_t end;
  size_t queries_per_row;
} sp_visible_rows;

/// Numbers of a key or value in int4, at most.
#define SP_ATTENTION_INT4_HEAD_DIM 256

/// Keys and values of one head in packed tiles, in blocks of rows. A block's keys are a matrix (rows, head_dim) of one
/// group, its values a matrix (head_dim, rows) of one group.
///
/// A matrix of int4 is the tiles of all its row blocks and, behind them, a bfloat16 scale for each of the block's rows, be
/// it of keys or of values, and zeros up to 16 rows; head_dim is at most SP_ATTENTION_INT4_HEAD_DIM.
typedef struct sp_packed_rows {
  const uint8_t *keys;
  const uint8_t *values;
  sp_element element;  // int8 or int4
  size_t rows;
  size_t block_rows;           // of every block but the last, which has what is left; the columns of the values' groups
  size_t key_block_bytes;      // from one block of keys to the next
  size_t value_block_bytes;    // from one block of values to the next
  size_t value_channel_bytes;  // from 16 channels of a block of values to the next 16; of int4 not looked at
  sp_visible_rows visible;
} sp_packed_rows;

/// Keys and values of one head that stand one by one, (rows, head_dim) each.
typedef struct sp_float_rows {
  const void *keys;
  const void *values;
  sp_element element;         // float32, float16 or int8
  const float *key_scales;    // (rows): of int8, what the numbers of each row are multiplied by; else not looked at
  const float *value_scales;  // (rows)
  size_t rows;
  sp_visible_rows visible;
} sp_float_rows;

/// Softmax attention of some queries to the rows so far. Attention to no rows: -INFINITY, 0, 0.
typedef struct sp_attention {
  float *maxima;   // (queries): the largest score
  float *sums;     // (queries): Σ exp(score - maximum)
  float *outputs;  // (queries, head_dim): Σ exp(score - maximum) · value, to be divided by the sums
} sp_attention;

/// The operations of one instruction set.
typedef struct sp_kernels_table {
  const char *name;

  /// Quantizes 16 or fewer rows of float32 to one row block. Scales of int4 are searched for the least squared error of
  /// each group. source: (rows, columns); output: one row block. Returns false when a value is not finite.
  bool (*quantize_row_block)(sp_tile_layout layout, const float *source, size_t rows, uint8_t *output);

  /// The same, with columns that make up for the errors of those before them.
  bool (*quantize_row_block_with_feedback)(sp_tile_layout layout, const float *source, size_t rows,
                                           sp_feedback feedback, uint8_t *output);

  /// Restores one row (0…15) of a row block. output: (columns).
  void (*dequantize_row)(sp_tile_layout layout, const uint8_t *row_block, size_t row, float *output);

  /// Widens count elements to float32.
  void (*widen)(const void *source, sp_element element, size_t count, float *output);

  /// Narrows count elements from float32, rounding to nearest even.
  void (*narrow_to_float16)(const float *source, size_t count, uint16_t *output);

  /// True when all values are finite.
  bool (*all_finite)(const float *values, size_t count);

  /// Quantizes tokens first ..< end. source: (tokens, columns).
  void (*quantize_activations)(const float *source, size_t first, size_t end, sp_activations output);

  /// output[t][r] = Σ_c matrix[r][c] · activations[t][c] for all tokens and the rows of the row blocks first ..< end of
  /// a packed matrix, whose columns and groups are those of the activations.
  void (*product_packed)(sp_matrix matrix, size_t first, size_t end, sp_activations activations, sp_output output);

  /// The same for a matrix of floats, whose row blocks are 16 rows each, too. input: (tokens, columns).
  void (*product_floats)(sp_matrix matrix, size_t first, size_t end, const float *input, size_t tokens,
                         sp_output output);

  /// Attends to packed rows. queries: as many columns as a head has, in one group, times what scores are multiplied by.
  void (*attend_packed)(sp_packed_rows rows, sp_activations queries, sp_attention so_far);

  /// Attends to rows that stand one by one. queries: (count, head_dim), times what scores are multiplied by.
  void (*attend_floats)(sp_float_rows rows, const float *queries, size_t count, size_t head_dim, sp_attention so_far);

  /// Adds attention of the same queries to other rows.
  void (*merge_attention)(sp_attention more, size_t count, size_t head_dim, sp_attention so_far);

  /// weights[i] += Σ over the queries of what the softmax gives row i: exp(score - maximum) / sum. whole: the attention of
  /// the same queries to all rows that they see, these among them; its outputs are not looked at.
  void (*weigh_packed)(sp_packed_rows rows, sp_activations queries, sp_attention whole, float *weights);

  /// The same for rows that stand one by one.
  void (*weigh_floats)(sp_float_rows rows, const float *queries, size_t count, size_t head_dim, sp_attention whole,
                       float *weights);

  /// output = x / sqrt(mean(x²) + epsilon) · weight.
  void (*rms_norm)(const float *x, const float *weight, size_t count, float epsilon, float *output);

  /// gate[i] = gate[i] / (1 + exp(-gate[i])) · up[i].
  void (*swiglu)(float *gate, const float *up, size_t count);

  /// x[i] *= factor.
  void (*scale)(float *x, float factor, size_t count);

  /// Rotates pairs (i, i + half) of each head: cosines, sines: (half). heads are head_dim apart.
  void (*rotate)(float *x, size_t heads, size_t head_dim, const float *cosines, const float *sines);

  /// Does nothing but int8 products of registers, for measuring what the processor can do: returns the number of
  /// multiplications and additions.
  uint64_t (*peak_int8)(size_t iterations);

  /// Does nothing but read memory, for measuring its bandwidth. byte_count is a multiple of 256. Returns a number that
  /// depends on all bytes.
  uint64_t (*read_memory)(const void *memory, size_t byte_count);
} sp_kernels_table;

/// The best table for this processor.
const sp_kernels_table *sp_kernels(void);

/// All tables that this processor can run, the portable one first. Returns how many; at most capacity are written.
size_t sp_available_kernels(const sp_kernels_table **tables, size_t capacity);

/// Tells the processor that a thread waits for another one's write.
static inline void sp_spin_hint(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Prefetches memory that is needed soon.
static inline void sp_prefetch(const void *memory, size_t byte_count) {
  for (size_t i = 0; i < byte_count; i += 64) __builtin_prefetch((const char *)memory + i);
}
