import ContextTrees

/// How the tokens of a prompt are divided into context and running text.
///
/// Source: arXiv 2410.19318 as its authors' code does it for instructions: of a prompt of whole chunks and a rest, the
/// chunks but the last are the context; the running text is what follows, one to two chunks long. Where the window does
/// not hold that with the answer, more chunks go to the context.
struct PromptDivision: Equatable {
  var context: Range<Int>
  var runningText: Range<Int>

  /// - Parameters:
  ///   - tokenCount: of the prompt, without a begin-of-text token.
  ///   - chunkSize: of the trees.
  ///   - room: tokens that the running text may have.
  /// - Returns: nil when the room is less than a chunk. A prompt that fits the room has no context.
  init?(tokenCount: Int, chunkSize: Int, room: Int) {
    if tokenCount <= room {
      context = 0..<0
      runningText = 0..<tokenCount
      return
    }
    guard room >= chunkSize else { return nil }
    var chunks = max(tokenCount / chunkSize - 1, 1)
    if tokenCount - chunks * chunkSize > room { chunks += 1 }
    context = 0..<chunks * chunkSize
    runningText = context.upperBound..<tokenCount
  }

  /// The ends of a prompt that is too long: its first and its last half, as LongBench and InfiniteBench cut it.
  static func middleTruncated<Token>(_ tokens: [Token], to limit: Int) -> [Token] {
    tokens.count <= limit ? tokens : Array(tokens[..<(limit / 2)] + tokens.suffix(limit - limit / 2))
  }
}
