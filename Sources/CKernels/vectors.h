// The vector types that every instruction set's file shares. The compiler splits them into the registers that it has.
#pragma once
#include "CKernels.h"

// Products and sums are fused where the code says so and nowhere else, or instruction sets would differ in the last bit.
#pragma STDC FP_CONTRACT OFF
// Wide vectors are passed between inlined functions only: there is no calling convention to differ.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));

// The levels of 4-bit weights as bytes of an int8 tile. Formats/packed-tile.md, nibble tiles.
static const uint8_t level_bytes[16] = {1, 30, 50, 67, 81, 93, 105, 117, 128, 140, 151, 164, 177, 192, 211, 237};

extern const sp_kernels_table sp_kernels_portable;
#if defined(__x86_64__)
extern const sp_kernels_table sp_kernels_avx2;
extern const sp_kernels_table sp_kernels_avxvnni;
extern const sp_kernels_table sp_kernels_avx512vnni;
#elif defined(__aarch64__)
extern const sp_kernels_table sp_kernels_neon;
#endif
