// Scores, softmax and weighted sums over rows of floats. Part of operations.h.

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
