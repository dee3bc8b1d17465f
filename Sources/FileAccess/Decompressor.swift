internal import CZlib
internal import CZstd

/// Takes compressed bytes apart, a piece at a time; a file's own claim of its length is never believed.
protocol Decompressor: AnyObject {
  /// Fills some of an output with what some of an input stands for.
  @unsafe func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) -> DecompressionStep
}

/// What a piece of decompression has done.
struct DecompressionStep {
  enum State {
    /// More input or more output is to come.
    case inside
    /// A member or frame has ended; another one may follow.
    case end
    case damaged
  }

  var consumed: Int
  var produced: Int
  var state: State
}

/// The members of a gzip file (RFC 1952), whose checksums are compared.
@safe final class GzipDecompressor: Decompressor {
  /// Where it is, as zlib remembers its address.
  private let stream: UnsafeMutablePointer<z_stream>

  /// - Returns: nil when there is no memory for it.
  init?() {
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    // The largest window, and 16 for gzip's header and checksums.
    let code = unsafe inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard code == Z_OK else {
      unsafe stream.deallocate()
      return nil
    }
  }

  deinit {
    unsafe inflateEnd(stream)
    unsafe stream.deallocate()
  }

  @unsafe func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) -> DecompressionStep {
    unsafe stream.pointee.next_in = UnsafeMutablePointer(
      mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
    unsafe stream.pointee.avail_in = UInt32(clamping: input.count)
    unsafe stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
    unsafe stream.pointee.avail_out = UInt32(clamping: output.count)
    let code = unsafe inflate(stream, Z_NO_FLUSH)
    let consumed = unsafe input.count - Int(stream.pointee.avail_in)
    let produced = unsafe output.count - Int(stream.pointee.avail_out)
    switch code {
    case Z_STREAM_END:
      let isReset = unsafe inflateReset(stream) == Z_OK
      return DecompressionStep(consumed: consumed, produced: produced, state: isReset ? .end : .damaged)
    case Z_OK, Z_BUF_ERROR: return DecompressionStep(consumed: consumed, produced: produced, state: .inside)
    default: return DecompressionStep(consumed: consumed, produced: produced, state: .damaged)
    }
  }
}

/// The frames of a zstd file (RFC 8878). Those that need a window of more than 128 MiB are refused.
@safe final class ZstdDecompressor: Decompressor {
  private let stream: OpaquePointer

  /// - Returns: nil when there is no memory for it.
  init?() {
    guard let stream = unsafe ZSTD_createDStream() else { return nil }
    unsafe self.stream = stream
  }

  deinit { unsafe _ = ZSTD_freeDStream(stream) }

  @unsafe func step(_ input: UnsafeRawBufferPointer, _ output: UnsafeMutableRawBufferPointer) -> DecompressionStep {
    var source = unsafe ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
    var target = unsafe ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
    let status = unsafe ZSTD_decompressStream(stream, &target, &source)
    let state: DecompressionStep.State = ZSTD_isError(status) != 0 ? .damaged : status == 0 ? .end : .inside
    return unsafe DecompressionStep(consumed: source.pos, produced: target.pos, state: state)
  }
}
