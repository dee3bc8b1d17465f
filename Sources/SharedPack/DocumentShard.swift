import FileAccess

/// One of several parts of a collection of texts, each of which is built apart. Which part a document belongs to is
/// decided by its name alone.
public struct DocumentShard: Sendable, Hashable {
  /// From 1 to the count.
  public let number: Int
  /// Parts in all.
  public let count: Int

  /// - Parameters:
  ///   - number: from 1 to the count.
  ///   - count: parts in all.
  /// - Returns: nil unless the number is 1 to the count, and the count at most 65,536.
  public init?(number: Int, of count: Int) {
    guard (1...65_536).contains(count), (1...count).contains(number) else { return nil }
    self.number = number
    self.count = count
  }

  /// Whether a document belongs to this part.
  /// - Parameter name: the document's.
  public func contains(_ name: String) -> Bool { Self.number(of: name, count: count) == number }

  /// The part that a document belongs to: the first eight bytes of the SHA-256 of its name, modulo the count, from 1.
  /// - Parameters:
  ///   - name: the document's.
  ///   - count: parts in all.
  public static func number(of name: String, count: Int) -> Int {
    let word = Digest256(of: Array(name.utf8)).bytes[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return Int(word % UInt64(count)) + 1
  }
}
