// What the machine can do, measured. Part of operations.h.

static uint64_t peak_int8(size_t iterations) {
  i32x16 sums[SP_TOKENS];
  uint8_t tile_source[TILE_BYTES] = {1, 2, 3};
  __asm__ volatile("" : "+m"(tile_source));
  tile_bytes tile = load_tile(tile_source);
#pragma clang loop unroll(full)
  for (size_t t = 0; t < SP_TOKENS; t++) sums[t] = splat_integer((int32_t)t);
  four_activations four = broadcast_four((int32_t)iterations);
  for (size_t i = 0; i < iterations; i++) {
#pragma clang loop unroll(full)
    for (size_t t = 0; t < SP_TOKENS; t++) {
      // To the compiler they are others each time, or it would multiply once for all.
      hide(&four);
      sums[t] = dot_tile(sums[t], tile, four);
    }
  }
  i32x16 total = splat_integer(0);
  for (size_t t = 0; t < SP_TOKENS; t++) total += sums[t];
  volatile int32_t keep = total[0];
  (void)keep;
  return (uint64_t)iterations * SP_TOKENS * TILE_BYTES * 2;
}

static uint64_t read_memory(const void *memory, size_t byte_count) {
  const char *bytes = memory;
  i32x16 sums[4] = {splat_integer(0), splat_integer(0), splat_integer(0), splat_integer(0)};
  for (size_t i = 0; i < byte_count; i += 4 * TILE_BYTES) {
#pragma clang loop unroll(full)
    for (size_t k = 0; k < 4; k++) {
      i32x16 x;
      memcpy(&x, bytes + i + k * TILE_BYTES, sizeof x);
      sums[k] ^= x;
    }
  }
  i32x16 total = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);
  uint64_t result = 0;
  for (int lane = 0; lane < LANES; lane++) result = result * 31 + (uint32_t)total[lane];
  return result;
}
