internal import CLz4
internal import CZstd

/// How the blocks of a cold segment are compressed.
public enum Compression: UInt8, Sendable, CaseIterable {
  case none = 0
  case lz4 = 1
  case zstd = 2

  /// - Returns: the compressed bytes, which are at most a few bytes longer than the input.
  package func compress(_ bytes: [UInt8]) -> [UInt8] {
    unsafe compress(bytes.span.bytes)
  }

  /// - Precondition: at most 2^31 - 2^25 bytes for LZ4.
  /// - Returns: the compressed bytes, which are at most a few bytes longer than the input.
  package func compress(_ bytes: RawSpan) -> [UInt8] {
    switch self {
    case .none: return bytes.array
    case .lz4:
      let bound = Int(LZ4_compressBound(Int32(bytes.byteCount)))
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
      let bound = ZSTD_compressBound(bytes.byteCount)
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
  package func decompress(_ bytes: RawSpan, byteCount: Int) -> [UInt8]? {
    var result = [UInt8](repeating: 0, count: byteCount)
    var span = result.mutableSpan
    var output = unsafe span.mutableBytes
    return decompress(bytes, into: &output) ? result : nil
  }

  /// Decompresses a whole `.zst` file, of one frame or several, whose length is not known beforehand.
  /// - Returns: nil when it is no such file, or longer than `limit` bytes.
  package static func decompressZstdFile(_ bytes: RawSpan, limit: Int) -> [UInt8]? {
    guard let stream = unsafe ZSTD_createDStream() else { return nil }
    defer { unsafe _ = ZSTD_freeDStream(stream) }
    var result: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: ZSTD_DStreamOutSize())
    let isWhole = unsafe bytes.withUnsafeBytes { input in
      var source = unsafe ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
      var rest = 1
      repeat {
        let (status, count) = unsafe piece.withUnsafeMutableBytes { output in
          var target = unsafe ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
          let status = unsafe ZSTD_decompressStream(stream, &target, &source)
          return unsafe (status, target.pos)
        }
        guard ZSTD_isError(status) == 0, count <= limit - result.count else { return false }
        result += piece[..<count]
        // No output although some is owed: the frame is cut off.
        if count < piece.count, unsafe source.pos == source.size, status > 0 { return false }
        rest = status
      } while unsafe source.pos < source.size || rest > 0
      return true
    }
    return isWhole ? result : nil
  }

  /// Decompresses one block into memory of its length: a frame's own claim is never believed.
  /// - Returns: false when the block is not a frame of that length; the memory's content is then of no use.
  package func decompress(_ bytes: RawSpan, into output: inout MutableRawSpan) -> Bool {
    unsafe output.withUnsafeMutableBytes { output in
      unsafe bytes.withUnsafeBytes { input in
        switch self {
        case .none:
          guard input.count == output.count else { return false }
          unsafe output.copyMemory(from: input)
          return true
        case .lz4:
          guard let inputCount = Int32(exactly: input.count), let outputCount = Int32(exactly: output.count),
            let source = input.baseAddress, let target = output.baseAddress
          else { return false }
          return unsafe LZ4_decompress_safe(
            source.assumingMemoryBound(to: CChar.self), target.assumingMemoryBound(to: CChar.self), inputCount,
            outputCount) == outputCount
        case .zstd:
          return unsafe ZSTD_decompress(output.baseAddress, output.count, input.baseAddress, input.count)
            == output.count
        }
      }
    }
  }
}
