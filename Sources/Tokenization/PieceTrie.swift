/// Finds the longest of some pieces that starts at an offset of a text.
struct PieceTrie: Sendable {
  /// Node and byte to node. The root is node 0.
  private var edges: [UInt64: UInt32] = [:]
  /// The piece that ends at each node, or -1.
  private var tokens: [Int32] = [-1]
  /// The bytes that a piece starts with.
  private var isFirst = [Bool](repeating: false, count: 256)

  var isEmpty: Bool { tokens.count == 1 }

  mutating func insert(_ piece: some Sequence<UInt8>, token: Int32) {
    var node: UInt32 = 0
    for byte in piece {
      if node == 0 { isFirst[Int(byte)] = true }
      let key = UInt64(node) << 8 | UInt64(byte)
      if let child = edges[key] {
        node = child
      } else {
        edges[key] = UInt32(tokens.count)
        node = UInt32(tokens.count)
        tokens.append(-1)
      }
    }
    tokens[Int(node)] = token
  }

  @inline(__always)
  func longestMatch(at start: Int, of text: Span<UInt8>, end: Int) -> (token: Int32, byteCount: Int)? {
    guard isFirst[Int(text[start])] else { return nil }
    return walk(from: start, of: text, end: end)
  }

  /// Whether a piece has been inserted.
  func contains(_ piece: [UInt8]) -> Bool {
    var node: UInt32 = 0
    for byte in piece {
      guard let child = edges[UInt64(node) << 8 | UInt64(byte)] else { return false }
      node = child
    }
    return tokens[Int(node)] >= 0
  }

  /// The longest of the matches that a condition allows.
  @inline(__always)
  func longestMatch(
    at start: Int, of text: Span<UInt8>, end: Int, where allows: (Int32, Int) -> Bool
  ) -> (token: Int32, byteCount: Int)? {
    guard isFirst[Int(text[start])] else { return nil }
    var node: UInt32 = 0
    var best: (token: Int32, byteCount: Int)?
    for offset in start..<end {
      guard let child = edges[UInt64(node) << 8 | UInt64(text[offset])] else { break }
      node = child
      let token = tokens[Int(node)]
      if token >= 0, allows(token, offset + 1 - start) { best = (token, offset + 1 - start) }
    }
    return best
  }

  private func walk(from start: Int, of text: Span<UInt8>, end: Int) -> (token: Int32, byteCount: Int)? {
    var node: UInt32 = 0
    var best: (token: Int32, byteCount: Int)?
    for offset in start..<end {
      guard let child = edges[UInt64(node) << 8 | UInt64(text[offset])] else { break }
      node = child
      if tokens[Int(node)] >= 0 { best = (tokens[Int(node)], offset + 1 - start) }
    }
    return best
  }
}
