/// How the numbers of a tensor are written in a GGUF file, by the number that the file gives.
enum GGUFNumberType: UInt32, Sendable, CaseIterable {
  case f32 = 0
  case f16 = 1
  case q40 = 2
  case q41 = 3
  case q50 = 6
  case q51 = 7
  case q80 = 8
  case q81 = 9
  case q2k = 10
  case q3k = 11
  case q4k = 12
  case q5k = 13
  case q6k = 14
  case q8k = 15
  case iq2xxs = 16
  case iq2xs = 17
  case iq3xxs = 18
  case iq1s = 19
  case iq4nl = 20
  case iq3s = 21
  case iq2s = 22
  case iq4xs = 23
  case i8 = 24
  case i16 = 25
  case i32 = 26
  case i64 = 27
  case f64 = 28
  case iq1m = 29
  case bf16 = 30
  case tq10 = 34
  case tq20 = 35
  case mxfp4 = 39
  case nvfp4 = 40
  case q10 = 41

  /// As messages call it.
  var name: String {
    switch self {
    case .q40: "Q4_0"
    case .q41: "Q4_1"
    case .q50: "Q5_0"
    case .q51: "Q5_1"
    case .q80: "Q8_0"
    case .q81: "Q8_1"
    case .q2k: "Q2_K"
    case .q3k: "Q3_K"
    case .q4k: "Q4_K"
    case .q5k: "Q5_K"
    case .q6k: "Q6_K"
    case .q8k: "Q8_K"
    case .iq2xxs: "IQ2_XXS"
    case .iq2xs: "IQ2_XS"
    case .iq3xxs: "IQ3_XXS"
    case .iq1s: "IQ1_S"
    case .iq4nl: "IQ4_NL"
    case .iq3s: "IQ3_S"
    case .iq2s: "IQ2_S"
    case .iq4xs: "IQ4_XS"
    case .iq1m: "IQ1_M"
    case .tq10: "TQ1_0"
    case .tq20: "TQ2_0"
    case .q10: "Q1_0"
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
    case .q40, .iq4nl: (32, 18)
    case .q41: (32, 20)
    case .q50: (32, 22)
    case .q51: (32, 24)
    case .q80: (32, 34)
    case .q81: (32, 40)
    case .nvfp4: (64, 36)
    case .q10: (128, 18)
    case .iq1s: (256, 50)
    case .tq10: (256, 54)
    case .iq1m: (256, 56)
    case .iq2xxs, .tq20: (256, 66)
    case .iq2xs: (256, 74)
    case .iq2s: (256, 82)
    case .q2k: (256, 84)
    case .iq3xxs: (256, 98)
    case .q3k, .iq3s: (256, 110)
    case .iq4xs: (256, 136)
    case .q4k: (256, 144)
    case .q5k: (256, 176)
    case .q6k: (256, 210)
    case .q8k: (256, 292)
    }
  }

  /// nil for numbers that cannot be converted.
  var blocks: NumberBlocks? {
    switch self {
    case .f32: .float32
    case .f16: .float16
    case .bf16: .bfloat16
    case .f64: NumberBlocks(safetensors: "F64")
    case .q40: blocks(QuantizedBlock.q40)
    case .q41: blocks(QuantizedBlock.q41)
    case .q50: blocks(QuantizedBlock.q50)
    case .q51: blocks(QuantizedBlock.q51)
    case .q80: blocks(QuantizedBlock.q80)
    case .q2k: blocks(QuantizedBlock.q2k)
    case .q3k: blocks(QuantizedBlock.q3k)
    case .q4k: blocks(QuantizedBlock.q4k)
    case .q5k: blocks(QuantizedBlock.q5k)
    case .q6k: blocks(QuantizedBlock.q6k)
    case .iq4nl: blocks(QuantizedBlock.iq4nl)
    case .iq4xs: blocks(QuantizedBlock.iq4xs)
    case .q81, .q8k, .iq2xxs, .iq2xs, .iq2s, .iq3xxs, .iq3s, .iq1s, .iq1m, .i8, .i16, .i32, .i64, .tq10,
      .tq20, .mxfp4, .nvfp4, .q10:
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
