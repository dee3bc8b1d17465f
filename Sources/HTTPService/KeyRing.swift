import ChatService
public import FileAccess

/// The keys of those who may ask.
public struct KeyRing: Sendable {
  /// Digests: how long a comparison takes tells nothing of a key.
  private let digests: [Digest256]
  private let scopes: [String]

  /// Characters that a key has, at least.
  public static let shortest = 16

  /// Reads keys: one in each line; empty lines and those that begin with `#` are skipped.
  /// - Parameters:
  ///   - text: of the file.
  ///   - file: its name, for messages.
  /// - Throws: `Refusal` `bad-key-file`, which never quotes a key.
  public init(parsing text: String, file: String) throws(Refusal) {
    var digests: [Digest256] = []
    var scopes: [String] = []
    for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      var key = line
      while key.last?.isWhitespace == true { key.removeLast() }
      guard !key.isEmpty, !key.hasPrefix("#") else { continue }
      guard key.utf8.count >= Self.shortest, key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
        throw Refusal(
          .badKeyFile, file: file, structure: "line \(number + 1)",
          "a key has at least \(Self.shortest) characters, all of them visible ones of ASCII")
      }
      digests.append(Digest256(of: Array(key.utf8)))
      scopes.append(Caller.scope(of: String(key)))
    }
    guard !digests.isEmpty else { throw Refusal(.badKeyFile, file: file, "has no keys") }
    self.digests = digests
    self.scopes = scopes
  }

  /// The scope of a key; nil for a key that is none of these. Takes as long for any key.
  func scope(of key: String) -> String? {
    let digest = Digest256(of: Array(key.utf8)).bytes
    var found: Int?
    for (number, other) in digests.enumerated() {
      var difference: UInt8 = 0
      for (left, right) in zip(digest, other.bytes) { difference |= left ^ right }
      if difference == 0 { found = number }
    }
    return found.map { scopes[$0] }
  }

  /// How many keys there are.
  public var count: Int { digests.count }
}

extension Refusal.Name {
  /// A file of keys has none, or one that is too easily guessed.
  public static let badKeyFile = Refusal.Name("bad-key-file", .badInput)
}
