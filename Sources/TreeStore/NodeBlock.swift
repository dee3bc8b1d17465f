internal import FileAccess

/// The keys and values of one node, as the kernels read them: 64-byte aligned and never changed.
///
/// Mapped from a segment or in memory of its own, which it keeps alive. Safe to use from any thread.
/// Format: `Formats/tree-store.md`, node blocks.
@safe public final class NodeBlock: Sendable {
  public let byteCount: Int
  private let address: UInt
  /// What owns the bytes; nil when this block does.
  private let mapping: MappedFile?
  private let mappingByteOffset: Int

  public static let alignment = 64

  /// A part of a mapped file.
  /// - Precondition: the range lies in the file and starts at a multiple of 64.
  init(mapped mapping: MappedFile, at byteOffset: Int, byteCount: Int) {
    precondition(byteOffset >= 0 && byteCount >= 0 && byteOffset <= mapping.byteCount - byteCount)
    precondition(byteOffset % Self.alignment == 0, "blocks are aligned")
    self.mapping = mapping
    self.byteCount = byteCount
    mappingByteOffset = byteOffset
    address = unsafe UInt(bitPattern: mapping.unsafeBytes.baseAddress) + UInt(byteOffset)
  }

  /// Memory of its own, zeros at first, which the closure fills.
  public init<Failure: Error>(
    byteCount: Int, filling body: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    precondition(byteCount >= 0)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(byteCount, 1), alignment: Self.alignment)
    unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    self.mapping = nil
    self.byteCount = byteCount
    mappingByteOffset = 0
    address = UInt(bitPattern: memory.baseAddress)
    var span = unsafe MutableRawSpan(_unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: memory[..<byteCount]))
    try body(&span)
  }

  /// A copy of bytes in memory of its own.
  public convenience init(bytes: RawSpan) {
    self.init(byteCount: bytes.byteCount) { output in
      _ = Compression.none.decompress(bytes, into: &output)
    }
  }

  /// A copy of bytes in memory of its own.
  public convenience init(bytes: [UInt8]) {
    unsafe self.init(bytes: bytes.span.bytes)
  }

  deinit {
    if mapping == nil { unsafe UnsafeMutableRawPointer(bitPattern: address)?.deallocate() }
  }

  /// Whether the bytes are pages of the segment's file, which the kernel may evict and share.
  public var isMapped: Bool { mapping != nil }

  public var bytes: RawSpan {
    @_lifetime(borrow self) get {
      let span = unsafe RawSpan(_unsafeBytes: unsafeBytes)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The bytes for the kernels. Valid as long as this object lives.
  @unsafe public var unsafeBytes: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: byteCount)
  }

  /// Asks the kernel to read mapped bytes ahead. Nothing for a block with memory of its own.
  public func prefetch() {
    mapping?.advise(.willNeed, mappingByteOffset..<mappingByteOffset + byteCount)
  }
}

/// A chunk's tree as the encoder makes it and the writer stores it.
public struct EncodedChunk: Sendable {
  public let tokens: [Int32]
  /// (nodes, embedding size), in the order of `ContextTree.nodes`.
  public let embeddings: [Float]
  /// One for each node, in the same order, each of `NodeBlockLayout.byteCount(rows:)` bytes.
  public let blocks: [NodeBlock]

  public init(tokens: [Int32], embeddings: [Float], blocks: [NodeBlock]) {
    self.tokens = tokens
    self.embeddings = embeddings
    self.blocks = blocks
  }
}
