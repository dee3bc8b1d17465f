/// How the numbers of a tensor are written in a GGUF file, by the number that the file gives.
enum GGUFNumberType: UInt32, Sendable, CaseIterable {
  case f32 = 0
  case f16 = 1
  case q4_0 = 2
  case q4_1 = 3
  case q5_0 = 6
  case q5_1 = 7
  case q8_0 = 8
  case q8_1 = 9
  case q2_K = 10
  case q3_K = 11
  case q4_K = 12
  case q5_K = 13
  case q6_K = 14
  case q8_K = 15
  case iq2_XXS = 16
  case iq2_XS = 17
  case iq3_XXS = 18
  case iq1_S = 19
  case iq4_NL = 20
  case iq3_S = 21
  case iq2_S = 22
  case iq4_XS = 23
  case i8 = 24
  case i16 = 25
  case i32 = 26
  case i64 = 27
  case f64 = 28
  case iq1_M = 29
  case bf16 = 30
  case tq1_0 = 34
  case tq2_0 = 35
  case mxfp4 = 39
  case nvfp4 = 40
  case q1_0 = 41

  /// As messages call it.
  var name: String {
    switch self {
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .q8_K: "Q\(String(describing: self).dropFirst())"
    default: String(describing: self).uppercased()
    }
  }

  /// Numbers and bytes of a block.
  var layout: (length: Int, byteCount: Int) {
    switch self {
    case .i8: (1, 1)
    case .f16, .bf16, .i16: (1, 2)
    case .f32, .i32: (1, 4)
    case .f64, .i64: (1, 8)
    case .mxfp4: (32, 17)
    case .q4_0, .iq4_NL: (32, 18)
    case .q4_1: (32, 20)
    case .q5_0: (32, 22)
    case .q5_1: (32, 24)
    case .q8_0: (32, 34)
    case .q8_1: (32, 40)
    case .nvfp4: (64, 36)
    case .q1_0: (128, 18)
    case .iq1_S: (256, 50)
    case .tq1_0: (256, 54)
    case .iq1_M: (256, 56)
    case .iq2_XXS, .tq2_0: (256, 66)
    case .iq2_XS: (256, 74)
    case .iq2_S: (256, 82)
    case .q2_K: (256, 84)
    case .iq3_XXS: (256, 98)
    case .q3_K, .iq3_S: (256, 110)
    case .iq4_XS: (256, 136)
    case .q4_K: (256, 144)
    case .q5_K: (256, 176)
    case .q6_K: (256, 210)
    case .q8_K: (256, 292)
    }
  }

  /// nil for numbers that cannot be converted.
  var blocks: NumberBlocks? {
    switch self {
    case .f32: .float32
    case .f16: .float16
    case .bf16: .bfloat16
    case .f64: NumberBlocks(safetensors: "F64")
    case .q4_0: blocks(QuantizedBlock.q4_0)
    case .q4_1: blocks(QuantizedBlock.q4_1)
    case .q5_0: blocks(QuantizedBlock.q5_0)
    case .q5_1: blocks(QuantizedBlock.q5_1)
    case .q8_0: blocks(QuantizedBlock.q8_0)
    case .q2_K: blocks(QuantizedBlock.q2_K)
    case .q3_K: blocks(QuantizedBlock.q3_K)
    case .q4_K: blocks(QuantizedBlock.q4_K)
    case .q5_K: blocks(QuantizedBlock.q5_K)
    case .q6_K: blocks(QuantizedBlock.q6_K)
    case .iq4_NL: blocks(QuantizedBlock.iq4_NL)
    case .iq4_XS: blocks(QuantizedBlock.iq4_XS)
    case .q8_1, .q8_K, .iq2_XXS, .iq2_XS, .iq2_S, .iq3_XXS, .iq3_S, .iq1_S, .iq1_M, .i8, .i16, .i32, .i64, .tq1_0,
      .tq2_0, .mxfp4, .nvfp4, .q1_0:
      nil
    }
  }

  private func blocks(
    _ decode: @escaping @Sendable (_ block: Span<UInt8>, _ numbers: inout MutableSpan<Float>) -> Void
  ) -> NumberBlocks {
    let layout = layout
    return NumberBlocks(length: layout.length, byteCount: layout.byteCount) { source, numbers in
      let bytes = unsafe source._unsafeView(as: UInt8.self)
      for number in 0..<bytes.count / layout.byteCount {
        let block = bytes.extracting(number * layout.byteCount..<(number + 1) * layout.byteCount)
        var target = numbers._mutatingExtracting(number * layout.length..<(number + 1) * layout.length)
        decode(block, &target)
      }
    }
  }
}
