// The operations of CKernels.h over vectors of 16 floats, written once. An instruction set's file defines, before it
// includes this one:
//   SP_SET            the table's suffix and SP_SET_NAME its name
//   tile_bytes, load_tile            a tile in registers
//   load_nibbles      the tile that one nibble of each of 64 bytes makes, low or high (a constant)
//   four_activations, broadcast_four  four activations in every lane
//   SP_PREPARES       1 where products of several tokens want activations in another form than int8; then
//   activation, prepare_activations, load_four  that form, how it is made, and four of it in every lane
//   dot_tile          adds 16 rows × 4 columns of unsigned tile times signed activations to 16 sums; with
//                     SP_SIGNED_TILES the tile is signed, as load_tile and load_nibbles have taken 128 from its bytes
//   hide              makes activations unknown to the compiler
//   widen16_float16   16 float16 to float32
//   narrow16_float16  the reverse, to nearest even
//   SP_TOKENS, SP_ROW_BLOCKS: the register block of the int8 product
#ifndef SP_PREPARES
#define SP_PREPARES 0
#endif
#ifndef SP_SIGNED_TILES
#define SP_SIGNED_TILES 0
#endif
#include "operations_vectors.h"
#include "operations_quantization.h"
#include "operations_packed.h"
#include "operations_int4.h"
#include "operations_feedback.h"
#include "operations_products.h"
#include "operations_single_group.h"
#include "operations_layer.h"
#include "operations_attention.h"
#include "operations_limits.h"

const sp_kernels_table SP_SET = {
    .name = SP_SET_NAME,
    .quantize_row_block = quantize_row_block,
    .dequantize_row = dequantize_row,
    .quantize_row_block_int4 = quantize_row_block_int4,
    .dequantize_row_int4 = dequantize_row_int4,
    .quantize_row_block_with_feedback = quantize_row_block_with_feedback,
    .quantize_row_block_int4_with_feedback = quantize_row_block_int4_with_feedback,
    .widen = widen,
    .narrow_to_float16 = narrow_to_float16,
    .all_finite = all_finite,
    .quantize_activations = quantize_activations,
    .product_int8 = product_int8,
    .product_int4 = product_int4,
    .product_float = product_float,
    .attend_packed = attend_packed,
    .attend_floats = attend_floats,
    .merge_attention = merge_attention,
    .weigh_packed = weigh_packed,
    .weigh_floats = weigh_floats,
    .rms_norm = rms_norm,
    .swiglu = swiglu,
    .add = add,
    .scale = scale,
    .rotate = rotate,
    .dot = dot,
    .peak_int8 = peak_int8,
    .read_memory = read_memory,
};
