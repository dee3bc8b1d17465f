#include "vectors.h"
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
// asm/hwcap.h: HWCAP_ASIMDDP.
#define HAS_DOT_PRODUCT (getauxval(AT_HWCAP) >> 20 & 1)
#elif defined(__aarch64__)
// Every processor of today's 64-bit Apple systems has them.
#define HAS_DOT_PRODUCT 1
#endif

size_t sp_available_kernels(const sp_kernels_table **tables, size_t capacity) {
  const sp_kernels_table *available[4];
  size_t count = 0;
  available[count++] = &sp_kernels_portable;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    available[count++] = &sp_kernels_avx2;
    if (__builtin_cpu_supports("avxvnni")) available[count++] = &sp_kernels_avxvnni;
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
      available[count++] = &sp_kernels_avx512vnni;
  }
#elif defined(__aarch64__)
  if (HAS_DOT_PRODUCT) available[count++] = &sp_kernels_neon;
#endif
  for (size_t i = 0; i < count && i < capacity; i++) tables[i] = available[i];
  return count;
}

const sp_kernels_table *sp_kernels(void) {
  // Written with the same value by whoever comes first.
  static _Atomic(const sp_kernels_table *) chosen;
  if (!chosen) {
    const sp_kernels_table *tables[4];
    chosen = tables[sp_available_kernels(tables, 4) - 1];
  }
  return chosen;
}
