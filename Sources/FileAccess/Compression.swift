internal import CLz4
internal import CZstd

/// How the blocks of a cold segment are compressed.
public enum Compression: UInt8, Sendable, CaseIterable {
  case none = 0
  case lz4 = 1
  case zstd = 2

  /// - Returns: the compressed bytes, which are at most a few bytes longer than the input.
  public func compress(_ bytes: [UInt8]) -> [UInt8] {
    switch self {
    case .none: return bytes
    case .lz4:
      let bound = Int(LZ4_compressBound(Int32(bytes.count)))
      return unsafe [UInt8](unsafeUninitializedCapacity: bound) { output, count in
        unsafe bytes.withUnsafeBytes { input in
          count = Int(
            unsafe LZ4_compress_default(
              input.baseAddress!.assumingMemoryBound(to: CChar.self),
              UnsafeMutableRawPointer(output.baseAddress!).assumingMemoryBound(to: CChar.self),
              Int32(input.count), Int32(bound)))
        }
        precondition(count > 0, "the bound suffices")
      }
    case .zstd:
      let bound = ZSTD_compressBound(bytes.count)
      return unsafe [UInt8](unsafeUninitializedCapacity: bound) { output, count in
        unsafe bytes.withUnsafeBytes { input in
          count = unsafe ZSTD_compress(output.baseAddress, bound, input.baseAddress, input.count, 3)
        }
        precondition(ZSTD_isError(count) == 0, "the bound suffices")
      }
    }
  }

  /// Decompresses one block whose length is known beforehand: a frame's own claim is never believed.
  /// - Returns: exactly `byteCount` bytes, or nil when the block is not a frame of that length.
  public func decompress(_ bytes: RawSpan, byteCount: Int) -> [UInt8]? {
    var isWhole = false
    let result = unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { output, count in
      isWhole = unsafe bytes.withUnsafeBytes { input in
        switch self {
        case .none:
          guard input.count == byteCount else { return false }
          if byteCount > 0 {
            unsafe UnsafeMutableRawPointer(output.baseAddress!).copyMemory(
              from: input.baseAddress!, byteCount: byteCount)
          }
          return true
        case .lz4:
          guard let inputCount = Int32(exactly: input.count), let outputCount = Int32(exactly: byteCount),
            inputCount > 0
          else { return false }
          return unsafe LZ4_decompress_safe(
            input.baseAddress!.assumingMemoryBound(to: CChar.self),
            UnsafeMutableRawPointer(output.baseAddress!).assumingMemoryBound(to: CChar.self),
            inputCount, outputCount) == outputCount
        case .zstd:
          return unsafe ZSTD_decompress(output.baseAddress, byteCount, input.baseAddress, input.count) == byteCount
        }
      }
      count = isWhole ? byteCount : 0
    }
    return isWhole ? result : nil
  }
}
