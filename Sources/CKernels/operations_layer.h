// What a layer does beside products and attention. Part of operations.h.

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
