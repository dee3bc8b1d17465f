/// Turns text into the tokens of a LLaMA model and back.
///
/// One type for all the files that tokenizers come in: `init(sentencePiece:)`, `init(tiktoken:)`,
/// `init(huggingFace:)`, and `init(serialized:)` for the form that is embedded in a model pack. A copy shares the
/// vocabulary; nothing changes after `init`, so any number of threads may use one tokenizer.
///
/// Format: Formats/tokenizer.md.
public struct Tokenizer: Sendable {
  let vocabulary: Vocabulary

  init(_ definition: TokenizerDefinition) throws(TokenizerError) {
    vocabulary = try Vocabulary(definition)
  }

  /// The number of tokens. Token ids are 0..<vocabularySize. The model may have rows for more.
  public var vocabularySize: Int { vocabulary.definition.pieces.count }

  /// The token that starts every text, if the files name one.
  public var beginOfTextToken: Int32? { vocabulary.definition.beginOfText }

  /// The tokens that end what a model generates, such as `</s>`, or `<|end_of_text|>` and `<|eot_id|>`.
  public var endOfTextTokens: [Int32] { vocabulary.definition.endOfText }

  /// The bytes of a token as the vocabulary spells them: with U+2581 for spaces in SentencePiece's pieces, the one byte
  /// of a byte piece, the spelling of a special token. Nil when there is no such token.
  public func piece(_ token: Int32) -> [UInt8]? {
    guard token >= 0, Int(token) < vocabularySize else { return nil }
    return Array(vocabulary.definition.pieces[Int(token)])
  }

  /// The special token with a spelling, such as `<|eot_id|>`.
  public func token(named spelling: String) -> Int32? {
    vocabulary.namedTokens[Array(spelling.utf8)]
  }

  /// Whether a token is special: it has no text of its own.
  public func isSpecial(_ token: Int32) -> Bool {
    token >= 0 && Int(token) < vocabularySize && vocabulary.definition.kinds[Int(token)] == .control
  }
}

/// A checked definition and what encoding needs besides.
final class Vocabulary: Sendable {
  let definition: TokenizerDefinition
  let merges: MergeTable
  /// The symbols of bytes, or of the characters below 0x80.
  let smallSymbols: [UInt32]
  /// The symbols of the other characters.
  let characterSymbols: [UInt32: UInt32]
  /// The words that are pieces, for `wholePieceFirst`.
  let words: PieceIndex
  /// The tokens of the 256 bytes, for `byteFallback`.
  let byteTokens: [Int32]
  let namedTokens: [[UInt8]: Int32]
  /// Matched in every text.
  let userDefined: PieceTrie
  /// Matched in texts whose special tokens are wanted.
  let special: PieceTrie
  let hasUnused: Bool
  /// No piece has a space after something else, so that no merge goes past the start of a word.
  let isBrokenBySpaces: Bool

  /// - Throws: `TokenizerError` when the parts contradict each other. What passes can be encoded with and decoded
  ///   without a trap.
  init(_ definition: TokenizerDefinition) throws(TokenizerError) {
    try definition.check()
    self.definition = definition
    guard let merges = MergeTable(definition.merges) else {
      throw TokenizerError(.malformed, "merges", "a pair of symbols is merged twice")
    }
    self.merges = merges

    let pieces = definition.pieces
    let kinds = definition.kinds
    var small = [UInt32](repeating: Symbol.unknown, count: 256)
    var characters: [UInt32: UInt32] = [:]
    var byteTokens = [Int32](repeating: -1, count: 256)
    var named: [[UInt8]: Int32] = [:]
    var userDefined = PieceTrie()
    var special = PieceTrie()
    let wantsWords = definition.flags.contains(.wholePieceFirst)
    var words = PieceIndex(capacity: wantsWords ? pieces.count : 0)
    let bytes = pieces.bytes.span
    for index in 0..<pieces.count {
      let range = pieces.range(index)
      let kind = kinds[index]
      switch kind {
      case .byte:
        let byte = Int(bytes[range.lowerBound])
        guard byteTokens[byte] < 0 else {
          throw TokenizerError(.duplicatePiece, "piece \(index)", "the byte \(byte) has a piece already")
        }
        byteTokens[byte] = Int32(index)
        continue
      case .control, .unknown:
        let name = Array(pieces.bytes[range])
        if named.updateValue(Int32(index), forKey: name) != nil {
          throw TokenizerError(.duplicatePiece, "piece \(index)", "a special piece is there twice")
        }
        special.insert(name, token: Int32(index))
      case .userDefined:
        userDefined.insert(pieces.bytes[range], token: Int32(index))
        if definition.flags.contains(.splitsAtUserDefined) {
          special.insert(pieces.bytes[range], token: Int32(index))
        }
      case .normal, .unused:
        if wantsWords, !words.insert(index, of: pieces) {
          throw TokenizerError(.duplicatePiece, "piece \(index)", "a piece is there twice")
        }
      }
      switch definition.unit {
      case .bytes:
        if range.count == 1, kind == .normal { small[Int(bytes[range.lowerBound])] = UInt32(index) }
      case .characters:
        // No character is longer.
        guard range.count <= 4 else { continue }
        let scalar = UTF8Scan.scalar(at: range.lowerBound, of: bytes)
        guard scalar.byteCount == range.count, kind == .normal || kind == .unused else { continue }
        if scalar.value < 0x80 { small[Int(scalar.value)] = UInt32(index) } else { characters[scalar.value] = UInt32(index) }
      }
    }
    for (index, scalar) in definition.extraCharacters.enumerated() {
      let symbol = UInt32(pieces.count + index)
      if scalar < 0x80 { small[Int(scalar)] = symbol } else { characters[scalar] = symbol }
    }
    if definition.unit == .bytes, let missing = small.firstIndex(of: Symbol.unknown) {
      throw TokenizerError(.missingPiece, "byte \(missing)", "no piece is this byte alone")
    }
    if definition.flags.contains(.byteFallback), let missing = byteTokens.firstIndex(of: -1) {
      throw TokenizerError(.missingPiece, "byte \(missing)", "byte fallback needs a byte piece")
    }
    smallSymbols = small
    characterSymbols = characters
    self.words = words
    self.byteTokens = byteTokens
    namedTokens = named
    self.userDefined = userDefined
    self.special = special
    hasUnused = kinds.contains(.unused)
    isBrokenBySpaces = !definition.hasSpaceWithinPiece
  }
}

/// Symbols beyond the pieces and the extra characters. They never merge.
enum Symbol {
  /// A character without a symbol: this plus its scalar.
  static let unknown: UInt32 = 1 << 31
  /// A user-defined piece: this plus its token.
  static let frozen: UInt32 = 1 << 30
  static let payload: UInt32 = 1 << 30 - 1
}

extension TokenizerDefinition {
  /// Whether some piece that merges make has a space after something else.
  var hasSpaceWithinPiece: Bool {
    let space = flags.contains(.escapesSpaces) ? spaceMark : [0x20]
    let bytes = pieces.bytes.span
    for index in kinds.indices where kinds[index] == .normal || kinds[index] == .unused {
      let range = pieces.range(index)
      var offset = range.lowerBound
      var seenOther = false
      while offset < range.upperBound {
        if bytes[offset] == space[0], range.upperBound - offset >= space.count,
          space.indices.allSatisfy({ bytes[offset + $0] == space[$0] })
        {
          if seenOther { return true }
          offset += space.count
        } else {
          seenOther = true
          offset += 1
        }
      }
    }
    return false
  }

  /// Checks that all parts agree. After it, every index that encoding and decoding follow stays within its array.
  func check() throws(TokenizerError) {
    let symbolCount = pieces.count + extraCharacters.count
    guard pieces.count > 0 else { throw TokenizerError(.malformed, "pieces", "there are none") }
    guard symbolCount <= TokenizerLimits.symbolCount else {
      throw TokenizerError(.tooLarge, "pieces", "\(symbolCount) symbols exceed \(TokenizerLimits.symbolCount)")
    }
    guard pieces.bytes.count <= TokenizerLimits.vocabularyByteCount else {
      throw TokenizerError(.tooLarge, "pieces", "\(pieces.bytes.count) bytes of pieces")
    }
    guard merges.count < TokenizerLimits.mergeCount else {
      throw TokenizerError(.tooLarge, "merges", "\(merges.count) exceed \(TokenizerLimits.mergeCount)")
    }
    try checkPieces()
    try checkCharacters()
    try checkMerges(symbolCount)
    for token in [unknownToken, beginOfText].compactMap({ $0 }) + endOfText {
      guard token >= 0, Int(token) < pieces.count else {
        throw TokenizerError(.malformed, "special tokens", "\(token) is no token")
      }
    }
    if let unknownToken {
      guard kinds[Int(unknownToken)] == .unknown else {
        throw TokenizerError(.malformed, "unknown token", "piece \(unknownToken) is of another kind")
      }
    } else if unit == .characters, !flags.contains(.byteFallback) {
      throw TokenizerError(.missingPiece, "unknown token", "some characters have no token")
    }
    guard unknownSurface.count <= TokenizerLimits.pieceByteCount,
      String(validating: unknownSurface, as: UTF8.self) != nil
    else {
      throw TokenizerError(.malformed, "unknown surface", "it is not UTF-8, or too long")
    }
    guard unit == .characters || pattern != .none else {
      throw TokenizerError(.unsupported, "word pattern", "symbols are bytes and no pattern splits the text")
    }
  }

  private func checkPieces() throws(TokenizerError) {
    guard kinds.count == pieces.count else { throw TokenizerError(.malformed, "pieces", "kinds are missing") }
    var matchedCount = 0
    var matchedByteCount = 0
    var start: UInt32 = 0
    for index in 0..<pieces.count {
      let end = pieces.ends[index]
      guard end >= start, end <= pieces.bytes.count else {
        throw TokenizerError(.malformed, "piece \(index)", "it leaves the bytes of the pieces")
      }
      let count = Int(end - start)
      guard count > 0 else { throw TokenizerError(.malformed, "piece \(index)", "it is empty") }
      guard count <= TokenizerLimits.pieceByteCount else {
        throw TokenizerError(.tooLarge, "piece \(index)", "it has \(count) bytes")
      }
      start = end
      switch kinds[index] {
      case .byte:
        guard count == 1, unit == .characters else {
          throw TokenizerError(.malformed, "piece \(index)", "it is not one byte of a character")
        }
      case .control, .unknown, .userDefined:
        matchedCount += 1
        matchedByteCount += count
      case .unused:
        guard unit == .characters else {
          throw TokenizerError(.malformed, "piece \(index)", "an unused piece of a vocabulary of bytes")
        }
      case .normal: break
      }
      if kinds[index] == .byte || kinds[index] == .normal && unit == .bytes { continue }
      guard String(validating: pieces[index], as: UTF8.self) != nil else {
        throw TokenizerError(.malformed, "piece \(index)", "it is not UTF-8")
      }
    }
    guard Int(start) == pieces.bytes.count else {
      throw TokenizerError(.malformed, "pieces", "bytes are left over")
    }
    guard matchedCount <= TokenizerLimits.matchedPieceCount, matchedByteCount <= TokenizerLimits.matchedByteCount else {
      throw TokenizerError(.tooLarge, "special pieces", "there are \(matchedCount), of \(matchedByteCount) bytes")
    }
  }

  private func checkCharacters() throws(TokenizerError) {
    guard extraCharacters.isEmpty || unit == .characters else {
      throw TokenizerError(.malformed, "extra characters", "symbols are bytes")
    }
    var last: UInt32?
    for (index, value) in extraCharacters.enumerated() {
      guard Unicode.Scalar(value) != nil, last.map({ $0 < value }) ?? true else {
        throw TokenizerError(.malformed, "extra character \(index)", "it is no scalar, or out of order")
      }
      last = value
    }
  }

  private func checkMerges(_ symbolCount: Int) throws(TokenizerError) {
    func byteCount(_ symbol: UInt32) -> Int? {
      guard Int(symbol) < symbolCount else { return nil }
      if Int(symbol) < pieces.count { return pieces.range(Int(symbol)).count }
      return Unicode.Scalar(extraCharacters[Int(symbol) - pieces.count]).map { UTF8.width($0) }
    }
    for (index, merge) in merges.enumerated() {
      // That a merge is as long as its parts also means that merging ends.
      guard let left = byteCount(merge.left), let right = byteCount(merge.right), Int(merge.result) < pieces.count,
        pieces.range(Int(merge.result)).count == left + right
      else {
        throw TokenizerError(.malformed, "merge \(index)", "it does not join two symbols to a piece")
      }
      guard kinds[Int(merge.result)] == .normal || kinds[Int(merge.result)] == .unused else {
        throw TokenizerError(.malformed, "merge \(index)", "it makes a special piece")
      }
    }
  }
}
