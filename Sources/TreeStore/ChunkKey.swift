public import FileAccess

/// The key under which a chunk's tree is found: the SHA-256 of everything that decides the tree.
/// Format: `Formats/tree-store.md`, chunk keys.
public struct ChunkKey: Hashable, Comparable, Sendable, CustomStringConvertible {
  // The digest's bytes as big-endian words: millions of keys are kept and compared without an allocation each.
  private let word0: UInt64
  private let word1: UInt64
  private let word2: UInt64
  private let word3: UInt64

  public init(_ digest: Digest256) {
    func word(_ index: Int) -> UInt64 { digest.bytes[index * 8..<index * 8 + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    word0 = word(0)
    word1 = word(1)
    word2 = word(2)
    word3 = word(3)
  }

  /// - Precondition: 32 bytes are there.
  init(_ bytes: RawSpan, at byteOffset: Int) {
    precondition(byteOffset >= 0 && bytes.byteCount - byteOffset >= 32, "a key has 32 bytes")
    word0 = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: byteOffset, as: UInt64.self).bigEndian
    word1 = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: byteOffset + 8, as: UInt64.self).bigEndian
    word2 = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: byteOffset + 16, as: UInt64.self).bigEndian
    word3 = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: byteOffset + 24, as: UInt64.self).bigEndian
  }

  public var digest: Digest256 {
    var writer = ByteWriter()
    write(into: &writer)
    guard let digest = Digest256(bytes: writer.bytes) else { preconditionFailure("a key has 32 bytes") }
    return digest
  }

  /// Appends the 32 bytes.
  func write(into writer: inout ByteWriter) {
    writer.integer(word0.byteSwapped)
    writer.integer(word1.byteSwapped)
    writer.integer(word2.byteSwapped)
    writer.integer(word3.byteSwapped)
  }

  /// 64 lower-case hexadecimal digits.
  public var description: String { digest.description }

  /// The first 12 digits, for messages.
  var short: String { String(description.prefix(12)) }

  public static func < (left: ChunkKey, right: ChunkKey) -> Bool {
    if left.word0 != right.word0 { return left.word0 < right.word0 }
    if left.word1 != right.word1 { return left.word1 < right.word1 }
    if left.word2 != right.word2 { return left.word2 < right.word2 }
    return left.word3 < right.word3
  }
}
