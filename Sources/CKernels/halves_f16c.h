// Conversions of float16 by the F16C instructions, for the sets that have them.
static inline __attribute__((always_inline)) f32x16 widen16_float16(const uint16_t *halves) {
  __m256 parts[2] = {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves)),
                     _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + 8)))};
  f32x16 result;
  memcpy(&result, parts, sizeof result);
  return result;
}

static inline __attribute__((always_inline)) void narrow16_float16(f32x16 x, uint16_t *halves) {
  __m256 parts[2];
  memcpy(parts, &x, sizeof parts);
  _mm_storeu_si128((__m128i *)halves, _mm256_cvtps_ph(parts[0], _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128((__m128i *)(halves + 8), _mm256_cvtps_ph(parts[1], _MM_FROUND_TO_NEAREST_INT));
}
