public import FileAccess

/// Immutable bytes at a multiple of 64, as the kernels need them: a part of a mapped file or memory of their own, which
/// they keep alive. Safe to use from any thread.
@safe public final class BlockBytes: Sendable {
  private enum Owner {
    case file(MappedFile)
    case memory(AlignedMemory)
  }

  public let byteCount: Int
  private let address: UInt
  private let owner: Owner

  /// A part of a mapped file.
  /// - Precondition: the range lies in the file and starts at a multiple of 64.
  public init(mapped mapping: MappedFile, at byteOffset: Int, byteCount: Int) {
    precondition(byteOffset >= 0 && byteCount >= 0 && byteOffset <= mapping.byteCount - byteCount)
    precondition(byteOffset % AlignedMemory.alignment == 0, "blocks are aligned")
    owner = .file(mapping)
    self.byteCount = byteCount
    address = unsafe UInt(bitPattern: mapping.unsafeBytes.baseAddress) + UInt(byteOffset)
  }

  /// Memory of its own, zeros at first, which the closure fills.
  public convenience init<Failure: Error>(
    byteCount: Int, filling body: (inout MutableRawSpan) throws(Failure) -> Void
  ) throws(Failure) {
    let memory = AlignedMemory(byteCount: byteCount, isZeroed: true)
    var span = unsafe MutableRawSpan(_unsafeBytes: memory.unsafeBytes)
    try body(&span)
    self.init(memory)
  }

  /// Memory that is no longer written.
  init(_ memory: AlignedMemory) {
    owner = .memory(memory)
    byteCount = memory.byteCount
    address = unsafe UInt(bitPattern: memory.base)
  }

  /// A copy in memory of its own.
  public convenience init(_ bytes: [UInt8]) {
    self.init(byteCount: bytes.count) { output in
      unsafe output.withUnsafeMutableBytes { unsafe $0.copyBytes(from: bytes) }
    }
  }

  /// Whether the bytes are pages of a file, which the kernel may evict and share.
  public var isMapped: Bool { mapping != nil }

  /// The file that they are a part of; nil for memory of their own.
  public var mapping: MappedFile? { if case .file(let file) = owner { file } else { nil } }

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
}

/// The keys and values of one node in every injected layer, as the kernels read them: mapped from a segment or freshly
/// encoded. Safe to use from any thread.
/// Format: `Formats/tree-store.md`, node blocks.
@safe public struct NodeBlock: Sendable {
  public let layout: NodeBlockLayout
  public let rowCount: Int
  /// `layout.byteCount(rows: rowCount)` bytes.
  public let storage: BlockBytes

  /// - Precondition: the storage has as many bytes as the layout says.
  public init(_ storage: BlockBytes, layout: NodeBlockLayout, rowCount: Int) {
    precondition(storage.byteCount == layout.byteCount(rows: rowCount), "a block has the bytes of its rows")
    self.layout = layout
    self.rowCount = rowCount
    self.storage = storage
  }

  public var byteCount: Int { storage.byteCount }

  /// A head's keys in a layer, for the kernels; the next head's follow after `layout.headByteCount`. Valid as long as the
  /// storage lives.
  @unsafe public func keys(layer: Int, head: Int = 0) -> UnsafeRawPointer {
    unsafe storage.unsafeBytes.baseAddress! + layout.keyByteOffset(layer: layer, head: head, rows: rowCount)
  }

  /// A head's values in a layer, as `keys(layer:head:)`.
  @unsafe public func values(layer: Int, head: Int = 0) -> UnsafeRawPointer {
    unsafe storage.unsafeBytes.baseAddress! + layout.valueByteOffset(layer: layer, head: head, rows: rowCount)
  }
}

/// A chunk's tree as the lower model makes it and a store keeps it.
public struct EncodedChunk: Sendable {
  public let tokens: [Int32]
  /// (nodes, hidden), in the order of `ContextTree.nodes`: what queries are compared with.
  public let embeddings: [Float]
  /// One for each node, in the same order.
  public let blocks: [NodeBlock]

  public init(tokens: [Int32], embeddings: [Float], blocks: [NodeBlock]) {
    self.tokens = tokens
    self.embeddings = embeddings
    self.blocks = blocks
  }
}
