/// The numbers of one block of each quantized type, to the bit as the package `gguf` computes them: in float32, with the
/// same products rounded in the same order.
///
/// Each function takes the bytes of a block and fills as many numbers as `GGUFNumberType.layout` says. A *nibble* is
/// half a byte; low nibbles are the first numbers of a group, and high ones those after them.
enum QuantizedBlock {
  // Blocks of 32: a scale d, for some a minimum m, and the numbers.

  /// d (2 bytes), nibbles (16): d · (q − 8).
  static func q40(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let scale = block.half(at: 0)
    for index in 0..<32 { numbers[index] = scale * Float(block.nibble(index, of: 16, at: 2) - 8) }
  }

  /// d, m, nibbles (16): d · q + m.
  static func q41(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let scale = block.half(at: 0)
    let minimum = block.half(at: 2)
    for index in 0..<32 { numbers[index] = scale * Float(block.nibble(index, of: 16, at: 4)) + minimum }
  }

  /// d, fifth bits (4), nibbles (16): d · (q − 16).
  static func q50(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let scale = block.half(at: 0)
    for index in 0..<32 {
      numbers[index] = scale * Float(block.nibble(index, of: 16, at: 6) + block.bit(index, at: 2) * 16 - 16)
    }
  }

  /// d, m, fifth bits (4), nibbles (16): d · q + m.
  static func q51(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let scale = block.half(at: 0)
    let minimum = block.half(at: 2)
    for index in 0..<32 {
      numbers[index] = scale * Float(block.nibble(index, of: 16, at: 8) + block.bit(index, at: 4) * 16) + minimum
    }
  }

  /// d, int8 (32): d · q.
  static func q80(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let scale = block.half(at: 0)
    for index in 0..<32 { numbers[index] = scale * Float(Int8(bitPattern: block[2 + index])) }
  }

  /// d, nibbles (16) that choose from `levels`: d · level.
  static func iq4nl(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let scale = block.half(at: 0)
    for index in 0..<32 { numbers[index] = scale * level(block.nibble(index, of: 16, at: 2)) }
  }

  // Blocks of 256: groups of 16 or 32 whose scales, and for some minima, are small whole numbers times those of the
  // block.

  /// Scales and minima of groups of 16 as nibbles (16), pairs of bits (64), d, m: (d · scale) · q − (m · minimum).
  static func q2k(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let blockScale = block.half(at: 80)
    let blockMinimum = block.half(at: 82)
    for group in 0..<16 {
      let scale = blockScale * Float(block[group] & 0xF)
      let minimum = blockMinimum * Float(block[group] >> 4)
      for index in group * 16..<group * 16 + 16 {
        numbers[index] = scale * Float(block.bitPair(index, at: 16)) - minimum
      }
    }
  }

  /// Third bits (32), pairs of bits (64), scales of groups of 16 in 6 bits (12), d: (d · (scale − 32)) · (q − 4).
  static func q3k(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let blockScale = block.half(at: 108)
    for group in 0..<16 {
      let low = Int(block[96 + group % 8] >> UInt8(group / 8 * 4)) & 0xF
      let high = Int(block[104 + group % 4] >> UInt8(group / 4 * 2)) & 3
      let scale = blockScale * Float((low | high << 4) - 32)
      for index in group * 16..<group * 16 + 16 {
        let third = Int(block[index % 32] >> UInt8(index / 32)) & 1
        numbers[index] = scale * Float(block.bitPair(index, at: 32) + third * 4 - 4)
      }
    }
  }

  /// d, m, scales and minima of groups of 32 in 6 bits (12), nibbles (128): (d · scale) · q − (m · minimum).
  static func q4k(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let blockScale = block.half(at: 0)
    let blockMinimum = block.half(at: 2)
    for group in 0..<8 {
      let scale = blockScale * Float(block.scale(group))
      let minimum = blockMinimum * Float(block.minimum(group))
      for index in group * 32..<group * 32 + 32 {
        numbers[index] = scale * Float(block.nibble(index, of: 32, at: 16)) - minimum
      }
    }
  }

  /// d, m, scales and minima of groups of 32 in 6 bits (12), fifth bits (32), nibbles (128), as `q4k`.
  static func q5k(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let blockScale = block.half(at: 0)
    let blockMinimum = block.half(at: 2)
    for group in 0..<8 {
      let scale = blockScale * Float(block.scale(group))
      let minimum = blockMinimum * Float(block.minimum(group))
      for index in group * 32..<group * 32 + 32 {
        let fifth = Int(block[16 + index % 32] >> UInt8(group)) & 1
        numbers[index] = scale * Float(block.nibble(index, of: 32, at: 48) + fifth * 16) - minimum
      }
    }
  }

  /// Nibbles (128), fifth and sixth bits (64), int8 scales of groups of 16 (16), d: (d · scale) · (q − 32).
  static func q6k(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let blockScale = block.half(at: 208)
    for group in 0..<16 {
      let scale = blockScale * Float(Int8(bitPattern: block[192 + group]))
      for index in group * 16..<group * 16 + 16 {
        let low = block.nibble(index, of: 64, at: 0)
        numbers[index] = scale * Float((low | block.bitPair(index, at: 128) << 4) - 32)
      }
    }
  }

  /// d, the high bits of the scales of groups of 32 (2), their low nibbles (4), nibbles (128) that choose from `levels`:
  /// (d · (scale − 32)) · level.
  static func iq4xs(_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) {
    let blockScale = block.half(at: 0)
    for group in 0..<8 {
      let low = Int(block[4 + group / 2] >> UInt8(group % 2 * 4)) & 0xF
      let high = Int(block[2 + group / 4] >> UInt8(group % 4 * 2)) & 3
      let scale = blockScale * Float((low | high << 4) - 32)
      for index in group * 32..<group * 32 + 32 {
        numbers[index] = scale * level(block.nibble(index, of: 16, at: 8))
      }
    }
  }

  /// The sixteen values of the types with uneven steps.
  private static let levels: [Float] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
  ]

  private static func level(_ nibble: Int) -> Float { levels[nibble] }
}

extension Span<UInt8> {
  /// A float16, little-endian.
  fileprivate func half(at offset: Int) -> Float {
    Float(Float16(bitPattern: UInt16(self[offset]) | UInt16(self[offset + 1]) << 8))
  }

  /// The nibble of a number: groups of `groupByteCount` bytes hold twice as many, the low nibbles first.
  fileprivate func nibble(_ index: Int, of groupByteCount: Int, at offset: Int) -> Int {
    let (group, rest) = index.quotientAndRemainder(dividingBy: groupByteCount * 2)
    let byte = Int(self[offset + group * groupByteCount + rest % groupByteCount])
    return rest < groupByteCount ? byte & 0xF : byte >> 4
  }

  /// The two bits of a number: 32 bytes hold 128, the lowest bits first.
  fileprivate func bitPair(_ index: Int, at offset: Int) -> Int {
    let (group, rest) = index.quotientAndRemainder(dividingBy: 128)
    return Int(self[offset + group * 32 + rest % 32] >> UInt8(rest / 32 * 2)) & 3
  }

  /// Bit number `index`.
  fileprivate func bit(_ index: Int, at offset: Int) -> Int { Int(self[offset + index / 8] >> UInt8(index % 8)) & 1 }

  // Eight scales and eight minima of 6 bits in the twelve bytes from 4 on.

  fileprivate func scale(_ group: Int) -> UInt8 {
    group < 4 ? self[4 + group] & 0x3F : self[8 + group] & 0xF | self[group] >> 2 & 0x30
  }

  fileprivate func minimum(_ group: Int) -> UInt8 {
    group < 4 ? self[8 + group] & 0x3F : self[8 + group] >> 4 | self[4 + group] >> 2 & 0x30
  }
}
