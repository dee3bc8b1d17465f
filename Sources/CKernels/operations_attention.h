// Softmax attention over rows of keys and values, block by block. Part of operations.h.
//
// Every block's weights are relative to the block's own largest score; a query keeps the largest score so far and what
// has been summed relative to it, and both are brought to the larger of the two. No scores outlive their block.
// Source: arXiv 1805.02867; arXiv 2205.14135, section 3.1.

#define BLOCK_ROWS SP_ATTENTION_BLOCK_ROWS
// Queries that meet a block together: their scores and weights stay in the nearest caches.
#define BLOCK_QUERIES 64
#define FLOAT_BLOCK_ROWS 64

INLINE float maximum(const float *values, size_t count) {
  f32x16 largest = splat(-INFINITY);
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) largest = larger(load(values + i), largest);
  float result = horizontal_maximum(largest);
  for (; i < count; i++) result = values[i] > result ? values[i] : result;
  return result;
}

// A number of each of 16 queries, or of those that are there; a single one, as when text is written, is not copied by
// a function.
INLINE f32x16 load_queries(const float *source, size_t count) {
  return count == 1 ? splat(*source) : load_some(source, count);
}

INLINE void store_queries(float *target, f32x16 x, size_t count) {
  if (count == 1) *target = x[0];
  else store_some(target, x, count);
}

// Raises each query's maximum to a block's. before and now: what sums relative to the old maximum and to the block's are
// multiplied by to be relative to the new one.
INLINE void raise_maxima(float *maxima, const float *largest, size_t queries, float *before, float *now) {
  for (size_t q = 0; q < queries; q += LANES) {
    f32x16 old = load_queries(maxima + q, queries - q), block = load_queries(largest + q, queries - q);
    f32x16 raised = larger(old, block);
    store_queries(before + q, exponential(old - raised), queries - q);
    store_queries(now + q, exponential(block - raised), queries - q);
    store_queries(maxima + q, raised, queries - q);
  }
}

// The rows that a query sees of those that start at `row`.
typedef struct row_range {
  size_t first, last;
} row_range;

INLINE row_range seen_rows(sp_visible_rows visible, size_t query, size_t row, size_t rows) {
  ptrdiff_t moved = (visible.queries_per_row ? (ptrdiff_t)(query / visible.queries_per_row) : 0) - (ptrdiff_t)row;
  ptrdiff_t first = visible.first + moved, last = visible.last + moved;
  if (last > (ptrdiff_t)rows) last = (ptrdiff_t)rows;
  if (first < 0) first = 0;
  return last > first ? (row_range){(size_t)first, (size_t)last} : (row_range){0, 0};
}

// weights[i] = 127 · exp(scores[i] - largest), to the nearest integer but for 0.013, and 0 for rows that are not seen;
// returns their sum. Of scores there are whole vectors, of which those behind the rows do not matter.
INLINE int32_t quantized_weights(const float *scores, size_t rows, row_range seen, float largest, int8_t *weights) {
  i32x16 sum = splat_integer(0);
  for (size_t i = 0; i < rows; i += LANES) {
    i32x16 q = weight16(load(scores + i) - splat(largest));
    if (seen.first > i) q &= ~first_lanes(seen.first - i);
    if (seen.last < i + LANES) q &= first_lanes(seen.last > i ? seen.last - i : 0);
    sum += q;
    i8x16 bytes = __builtin_convertvector(q, i8x16);
    memcpy(weights + i, &bytes, LANES);
  }
  return horizontal_total(sum);
}

// Queries that attend to the same blocks of rows, at most BLOCK_QUERIES.
typedef struct query_block {
  sp_activations activations;
  prepared_tokens prepared;
  size_t first, count;
} query_block;

// One block: scores are products of quantized queries and keys, the weighted sum is the same product again, of quantized
// weights and values. The sum that corrects the values' offset is the softmax's denominator.
static void attend_block(const uint8_t *keys, const uint8_t *values, size_t row, size_t rows, sp_packed_rows all,
                         query_block queries, size_t head_dim, sp_attention so_far) {
  float scores[BLOCK_QUERIES * BLOCK_ROWS];
  int8_t weights[BLOCK_QUERIES * BLOCK_ROWS];
  activation room[SP_PREPARES ? BLOCK_QUERIES * BLOCK_ROWS : 1];
  // As many as whole vectors have.
  float largest[BLOCK_QUERIES], before[BLOCK_QUERIES], now[BLOCK_QUERIES];
  int32_t sums[BLOCK_QUERIES];
  row_range seen[BLOCK_QUERIES];
  size_t count = queries.count;
  size_t key_columns = (head_dim + 3) / 4 * 4;
  size_t stride = (rows + LANES - 1) / LANES * LANES;
  set_product_of_group(keys, key_columns * LANES + LANES * sizeof(float), rows, head_dim, queries.activations,
                       queries.prepared, count, scores, stride);
  for (size_t q = 0; q < count; q++) {
    seen[q] = seen_rows(all.visible, queries.first + q, row, rows);
    largest[q] = maximum(scores + q * stride + seen[q].first, seen[q].last - seen[q].first);
  }
  raise_maxima(so_far.maxima, largest, count, before, now);
  for (size_t q = 0; q < count; q++)
    sums[q] = quantized_weights(scores + q * stride, rows, seen[q], largest[q], weights + q * stride);
  for (size_t q = 0; q < count; q += LANES) {
    i32x16 sum;
    memcpy(&sum, sums + q, sizeof sum);
    f32x16 factor = load(now + q) * splat(1.0f / 127);
    f32x16 total = load_queries(so_far.sums + q, count - q) * load(before + q) + to_float(sum) * factor;
    store_queries(so_far.sums + q, total, count - q);
    store(now + q, factor);
    sum *= -128;
    memcpy(sums + q, &sum, sizeof sum);
  }
  for (size_t q = 0; q < count; q++)
    if (before[q] != 1) scale(so_far.outputs + q * head_dim, before[q], head_dim);
  sp_activations weighted = {weights, now, sums, stride};
  add_product_of_group(values, all.value_channel_bytes, head_dim, rows, weighted,
                       prepare_tokens(weighted, count, (rows + 3) / 4 * 4, room), count, so_far.outputs, head_dim);
}

// scores[i] = exp(scores[i] - maximum); returns their sum.
INLINE float exponentiate(float *scores, size_t count, float maximum) {
  f32x16 sum = splat(0);
  for (size_t i = 0; i < count; i += LANES) {
    f32x16 e = exponential(load_some(scores + i, count - i) - splat(maximum));
    if (count - i < LANES) e = choose(first_lanes(count - i), e, splat(0));
    store_some(scores + i, e, count - i);
    sum += e;
  }
  return horizontal_sum(sum);
}

// weights[i] += exp(scores[i] - maximum) / sum. The scores are lost.
INLINE void add_weights(float *scores, size_t count, float maximum, float sum, float *weights) {
  if (count == 0) return;
  exponentiate(scores, count, maximum);
  for (size_t i = 0; i < count; i++) weights[i] += scores[i] / sum;
}

// Adds each row's share of the attention that is whole: what its block's queries give it of their softmax.
static void weigh_block(const uint8_t *keys, size_t row, size_t rows, sp_packed_rows all, query_block queries,
                        size_t head_dim, sp_attention whole, float *weights) {
  float scores[BLOCK_QUERIES * BLOCK_ROWS];
  size_t key_columns = (head_dim + 3) / 4 * 4;
  size_t stride = (rows + LANES - 1) / LANES * LANES;
  set_product_of_group(keys, key_columns * LANES + LANES * sizeof(float), rows, head_dim, queries.activations,
                       queries.prepared, queries.count, scores, stride);
  for (size_t q = 0; q < queries.count; q++) {
    row_range seen = seen_rows(all.visible, queries.first + q, row, rows);
    add_weights(scores + q * stride + seen.first, seen.last - seen.first, whole.maxima[q], whole.sums[q],
                weights + row + seen.first);
  }
}

// Attends to the rows, or, where weights are asked for, adds each row's share of attention that is whole.
INLINE void visit_packed(sp_packed_rows all, sp_activations queries, size_t count, size_t head_dim, sp_attention so_far,
                         float *weights) {
  activation room[ROOM] __attribute__((aligned(64)));
  size_t key_columns = (head_dim + 3) / 4 * 4;
  size_t together = SP_PREPARES ? smaller_size(BLOCK_QUERIES, ROOM / key_columns) : BLOCK_QUERIES;
  for (size_t first = 0; first < count; first += together) {
    size_t some = smaller_size(count - first, together);
    sp_activations a = {queries.values + first * queries.stride, queries.scales + first, queries.offsets + first,
                        queries.stride};
    query_block block = {a, prepare_tokens(a, some, key_columns, room), first, some};
    sp_attention result = {so_far.maxima + first, so_far.sums + first, so_far.outputs + first * head_dim};
    const uint8_t *keys = all.keys, *values = all.values;
    for (size_t row = 0; row < all.rows; row += all.block_rows) {
      size_t rows = all.rows - row < all.block_rows ? all.rows - row : all.block_rows;
      if (weights) weigh_block(keys, row, rows, all, block, head_dim, result, weights);
      else attend_block(keys, values, row, rows, all, block, head_dim, result);
      keys += all.key_block_bytes;
      values += all.value_block_bytes;
    }
  }
}

static void attend_packed(sp_packed_rows all, sp_activations queries, size_t count, size_t head_dim,
                          sp_attention so_far) {
  visit_packed(all, queries, count, head_dim, so_far, NULL);
}

static void weigh_packed(sp_packed_rows all, sp_activations queries, size_t count, size_t head_dim, sp_attention whole,
                         float *weights) {
  visit_packed(all, queries, count, head_dim, whole, weights);
}

INLINE void scores_of(sp_element element, const void *keys, size_t first, size_t count, size_t head_dim,
                      const float *query, float *scores) {
  for (size_t i = 0; i < count; i++) {
    f32x16 sum = splat(0);
    for (size_t d = 0; d < head_dim; d += LANES)
      sum = fma16(load_some(query + d, head_dim - d),
                  widen_some(keys, element, (first + i) * head_dim + d, head_dim - d), sum);
    scores[i] = horizontal_sum(sum);
  }
}

// output = factor · output + Σ weights[i] · values[first + i]. Four vectors of channels at a time, so that the sums stay
// in registers while the rows go by.
INLINE void weighted_sum_of(sp_element element, const void *values, size_t first, size_t count, size_t head_dim,
                            const float *weights, float factor, float *output) {
  size_t d = 0;
  for (; d + 4 * LANES <= head_dim; d += 4 * LANES) {
    f32x16 sums[4];
#pragma clang loop unroll(full)
    for (size_t k = 0; k < 4; k++) sums[k] = load(output + d + k * LANES) * splat(factor);
    for (size_t i = 0; i < count; i++) {
      f32x16 weight = splat(weights[i]);
#pragma clang loop unroll(full)
      for (size_t k = 0; k < 4; k++)
        sums[k] = fma16(weight, widen16(values, element, (first + i) * head_dim + d + k * LANES), sums[k]);
    }
#pragma clang loop unroll(full)
    for (size_t k = 0; k < 4; k++) store(output + d + k * LANES, sums[k]);
  }
  for (; d < head_dim; d += LANES) {
    f32x16 sum = load_some(output + d, head_dim - d) * splat(factor);
    for (size_t i = 0; i < count; i++)
      sum = fma16(splat(weights[i]), widen_some(values, element, (first + i) * head_dim + d, head_dim - d), sum);
    store_some(output + d, sum, head_dim - d);
  }
}

INLINE void attend_floats_of(sp_element element, sp_float_rows all, const float *queries, size_t count, size_t head_dim,
                             sp_attention so_far) {
  float scores[FLOAT_BLOCK_ROWS];
  for (size_t row = 0; row < all.rows; row += FLOAT_BLOCK_ROWS)
    for (size_t q = 0; q < count; q++) {
      size_t rows = all.rows - row < FLOAT_BLOCK_ROWS ? all.rows - row : FLOAT_BLOCK_ROWS;
      row_range seen = seen_rows(all.visible, q, row, rows);
      size_t first = row + seen.first;
      rows = seen.last - seen.first;
      if (rows == 0) continue;
      scores_of(element, all.keys, first, rows, head_dim, queries + q * head_dim, scores);
      float largest = maximum(scores, rows), before, now;
      raise_maxima(so_far.maxima + q, &largest, 1, &before, &now);
      so_far.sums[q] = so_far.sums[q] * before + exponentiate(scores, rows, so_far.maxima[q]);
      weighted_sum_of(element, all.values, first, rows, head_dim, scores, before, so_far.outputs + q * head_dim);
    }
}

static void attend_floats(sp_float_rows all, const float *queries, size_t count, size_t head_dim, sp_attention so_far) {
  if (all.element == SP_FLOAT32) attend_floats_of(SP_FLOAT32, all, queries, count, head_dim, so_far);
  else attend_floats_of(SP_FLOAT16, all, queries, count, head_dim, so_far);
}

static void weigh_floats(sp_float_rows all, const float *queries, size_t count, size_t head_dim, sp_attention whole,
                         float *weights) {
  float scores[FLOAT_BLOCK_ROWS];
  for (size_t row = 0; row < all.rows; row += FLOAT_BLOCK_ROWS)
    for (size_t q = 0; q < count; q++) {
      row_range seen = seen_rows(all.visible, q, row, smaller_size(all.rows - row, FLOAT_BLOCK_ROWS));
      size_t first = row + seen.first, rows = seen.last - seen.first;
      scores_of(all.element, all.keys, first, rows, head_dim, queries + q * head_dim, scores);
      add_weights(scores, rows, whole.maxima[q], whole.sums[q], weights + first);
    }
}

static void merge_attention(sp_attention more, size_t count, size_t head_dim, sp_attention so_far) {
  for (size_t q = 0; q < count; q++) {
    float before, now;
    raise_maxima(so_far.maxima + q, more.maxima + q, 1, &before, &now);
    so_far.sums[q] = so_far.sums[q] * before + more.sums[q] * now;
    for (size_t d = 0; d < head_dim; d += LANES) {
      float *output = so_far.outputs + q * head_dim + d;
      f32x16 merged = fma16(load_some(output, head_dim - d), splat(before),
                            load_some(more.outputs + q * head_dim + d, head_dim - d) * splat(now));
      store_some(output, merged, head_dim - d);
    }
  }
}
