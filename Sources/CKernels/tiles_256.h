// A tile in two 256-bit registers, and float16 by F16C: shared by the sets that have no wider ones. A set defines
// four_activations and dot_half before it includes this.
typedef struct tile_bytes {
  __m256i low, high;
} tile_bytes;

static inline __attribute__((always_inline)) tile_bytes load_tile(const uint8_t *tile) {
  return (tile_bytes){_mm256_loadu_si256((const __m256i *)tile), _mm256_loadu_si256((const __m256i *)(tile + 32))};
}

static inline __attribute__((always_inline)) __m256i levels_of(__m256i nibbles, bool high) {
  __m256i levels = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)level_bytes));
  if (high) nibbles = _mm256_srli_epi16(nibbles, 4);
  return _mm256_shuffle_epi8(levels, _mm256_and_si256(nibbles, _mm256_set1_epi8(15)));
}

static inline __attribute__((always_inline)) tile_bytes load_nibbles(const uint8_t *tile, bool high) {
  tile_bytes nibbles = load_tile(tile);
  return (tile_bytes){levels_of(nibbles.low, high), levels_of(nibbles.high, high)};
}

static inline __attribute__((always_inline)) i32x16 dot_tile(i32x16 sums, tile_bytes tile, four_activations four) {
  __m256i halves[2];
  memcpy(halves, &sums, sizeof halves);
  halves[0] = dot_half(halves[0], tile.low, four);
  halves[1] = dot_half(halves[1], tile.high, four);
  memcpy(&sums, halves, sizeof halves);
  return sums;
}

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
