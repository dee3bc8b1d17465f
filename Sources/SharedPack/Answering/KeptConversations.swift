import FileAccess
import LlamaRuntime
import NodeBlocks

/// What the model knows of conversations whose answers have ended: keys and values of their tokens, so that one that goes
/// on, or begins as another did, is not read again.
///
/// Whole blocks of 64 rows, in which the form of a row depends on nothing but its place, in pieces that end where
/// attention's parts end: what is continued gives the bits of what is read at once. Conversations that begin alike share
/// pieces. When there are too many bytes, the conversation that was not used for longest goes first.
struct KeptConversations {
  /// Rows that conversations share. Not thread-safe.
  final class Piece {
    let rows: TextRows
    /// Conversations that have it, and answers that use it.
    fileprivate var owners = 0

    init(_ rows: TextRows) { self.rows = rows }

    var byteCount: Int { rows.storage.byteCount }
  }

  /// Rows of some pieces, one after the other, from the first token of a text on.
  struct Beginning {
    fileprivate(set) var pieces: [(piece: Piece, count: Int)] = []
    fileprivate(set) var tokenCount = 0

    fileprivate mutating func append(_ piece: Piece, count: Int) {
      pieces.append((piece, count))
      tokenCount += count
    }

    /// The first ones of the rows.
    fileprivate func prefix(_ count: Int) -> Beginning {
      var result = Beginning()
      for (piece, rows) in pieces where result.tokenCount < count {
        result.append(piece, count: min(rows, count - result.tokenCount))
      }
      return result
    }

    /// What stands before the rest of the text; nil for nothing.
    var textPrefix: TextPrefix? {
      guard let layout = pieces.first?.piece.rows.layout else { return nil }
      var prefix = TextPrefix(layout: layout)
      for (piece, count) in pieces {
        prefix.append(piece.rows, range: 0..<count, readAt: prefix.tokenCount)
      }
      return prefix
    }
  }

  private struct Conversation {
    let scope: String
    let tokens: [Int32]
    let beginning: Beginning
    var lastUse: Int
  }

  private static let together = TextRowLayout.rowsTogether
  /// Rows of a piece, at most: those of a part.
  private static let pieceRows = 1024

  private let layout: TextRowLayout
  private var conversations: [Conversation] = []
  private var uses = 0
  /// Bytes of all pieces that anybody owns.
  private(set) var byteCount = 0

  /// - Parameter layout: of a session's rows.
  init(layout: TextRowLayout) { self.layout = layout }

  var count: Int { conversations.count }

  /// The longest beginning of a prompt that is known, without the prompt's last token, which has to be read. The caller
  /// owns it until `release`.
  mutating func retainBeginning(of prompt: [Int32], scope: String) -> Beginning {
    var best: (index: Int, count: Int)?
    for (index, conversation) in conversations.enumerated() where conversation.scope == scope {
      let common = zip(conversation.tokens, prompt.dropLast()).prefix { $0 == $1 }.count
      let count = common / Self.together * Self.together
      if count > best?.count ?? 0 { best = (index, count) }
    }
    guard let best else { return Beginning() }
    uses += 1
    conversations[best.index].lastUse = uses
    let beginning = conversations[best.index].beginning.prefix(best.count)
    retain(beginning)
    return beginning
  }

  mutating func release(_ beginning: Beginning) {
    for (piece, _) in beginning.pieces {
      piece.owners -= 1
      if piece.owners == 0 { byteCount -= piece.byteCount }
    }
  }

  private mutating func retain(_ beginning: Beginning) {
    for (piece, _) in beginning.pieces {
      if piece.owners == 0 { byteCount += piece.byteCount }
      piece.owners += 1
    }
  }

  /// Keeps what a session has read.
  /// - Parameters:
  ///   - tokens: those of the beginning and those that the session has read behind it.
  ///   - beginning: what the session continued.
  ///   - limit: of all bytes.
  mutating func keep(
    _ session: Session, _ tokens: [Int32], behind beginning: Beginning, scope: String, limit: Int
  ) {
    let end = tokens.count / Self.together * Self.together
    let kept = tokens[..<end]
    uses += 1
    let known = conversations.firstIndex { $0.scope == scope && $0.tokens.starts(with: kept) }
    if let known {
      conversations[known].lastUse = uses
      return
    }
    let first = beginning.tokenCount
    guard first + session.tokenCount >= end, end > first, layout.byteCount(rows: end) <= limit else { return }
    var whole = beginning
    var start = first
    while start < end {
      let next = min(end, (start / Self.pieceRows + 1) * Self.pieceRows)
      // Rows that are not finite are of no use to anybody.
      guard let rows = try? session.rows(start - first..<next - first) else { return }
      whole.append(Piece(rows), count: next - start)
      start = next
    }
    retain(whole)
    // What it began with is part of it now.
    drop { $0.scope == scope && kept.starts(with: $0.tokens) }
    conversations.append(Conversation(scope: scope, tokens: Array(kept), beginning: whole, lastUse: uses))
    shrink(to: limit)
  }

  /// Forgets conversations until the bytes of what is kept are no more than a limit, or only answers use it.
  mutating func shrink(to limit: Int) {
    while byteCount > limit, let oldest = conversations.map(\.lastUse).min() { drop { $0.lastUse == oldest } }
  }

  private mutating func drop(where isGone: (Conversation) -> Bool) {
    for conversation in conversations where isGone(conversation) { release(conversation.beginning) }
    conversations.removeAll(where: isGone)
  }
}
