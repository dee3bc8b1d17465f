// Where the parts of a packed matrix lie. Part of operations.h. Format: Formats/packed-tile.md.

// The packed forms of a matrix. Constant wherever it is passed, so that each has loops of its own.
typedef enum packed_form { INT8, INT4 } packed_form;

// Bytes of a column of a row block.
INLINE size_t column_bytes(const packed_form form) { return form == INT4 ? LANES / 2 : LANES; }

// Columns of 64 bytes.
INLINE size_t tile_columns(const packed_form form) { return TILE_BYTES / column_bytes(form); }

// Byte offsets in a row block: a group's tiles, and its 16 scales, behind them (int8) or before the tiles of its pair.
typedef struct group_place {
  size_t tiles, scales;
} group_place;

INLINE group_place place_of_group(const packed_form form, size_t group, size_t group_size, size_t width) {
  // A pair of groups of int4 takes as many bytes as one of int8.
  size_t stride = group_size * LANES + TILE_BYTES;
  if (form == INT8) return (group_place){group * stride, group * stride + width * LANES};
  size_t pair = group / 2 * stride;
  return (group_place){pair + TILE_BYTES + group % 2 * group_size * column_bytes(INT4),
                       pair + group % 2 * LANES * sizeof(uint16_t)};
}

INLINE f32x16 load_scales(const packed_form form, const uint8_t *scales) {
  return widen16(scales, form == INT4 ? SP_BFLOAT16 : SP_FLOAT32, 0);
}

// Those of int4 must be representable in bfloat16.
INLINE void store_scales(const packed_form form, uint8_t *place, const float scales[LANES]) {
  if (form == INT8) {
    memcpy(place, scales, LANES * sizeof *scales);
    return;
  }
  u32x16 bits;
  memcpy(&bits, scales, sizeof bits);
  u16x16 halves = __builtin_convertvector(bits >> 16, u16x16);
  memcpy(place, &halves, sizeof halves);
}
