extension NumberBlocks {
  /// The numbers of a safetensors element type.
  /// - Returns: nil for a type whose numbers are no weights.
  init?(safetensors elementType: String) {
    switch elementType {
    case "F64": self = .float64
    case "F32": self = .float32
    case "F16": self = .float16
    case "BF16": self = .bfloat16
    case "F8_E4M3": self = .float8E4M3
    case "F8_E5M2": self = .float8E5M2
    default: return nil
    }
  }

  /// Rounded to float32; what is beyond becomes infinite.
  private static let float64 = NumberBlocks(length: 1, byteCount: 8) { source, numbers in
    for index in 0..<numbers.count {
      let bits = unsafe source.unsafeLoadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
      numbers[index] = Float(Double(bitPattern: UInt64(littleEndian: bits)))
    }
  }

  /// Four bits of exponent with a bias of 7, three of fraction. There are no infinities, and all ones are not a number.
  /// Source: arXiv 2209.05433, section 3.
  private static let float8E4M3 = bytes { byte in
    let exponent = Int(byte >> 3 & 15)
    let fraction = Float(byte & 7)
    let magnitude: Float =
      switch (exponent, byte & 7) {
      case (15, 7): .nan
      case (0, _): fraction * 0x1p-9
      default: Float(sign: .plus, exponent: exponent - 7, significand: 1 + fraction / 8)
      }
    return byte & 0x80 == 0 ? magnitude : -magnitude
  }

  /// The upper halves of float16. Source: arXiv 2209.05433, section 3.
  private static let float8E5M2 = bytes { Float(Float16(bitPattern: UInt16($0) << 8)) }

  /// Numbers of one byte, from a table.
  private static func bytes(_ value: (UInt8) -> Float) -> NumberBlocks {
    let table = (0...UInt8.max).map(value)
    return NumberBlocks(length: 1, byteCount: 1) { source, numbers in
      for index in 0..<numbers.count {
        numbers[index] = table[Int(unsafe source.unsafeLoad(fromByteOffset: index, as: UInt8.self))]
      }
    }
  }
}
