import Synchronization

/// Turns text into the tokens of a LLaMA model and back.
///
/// One type for all the files that tokenizers come in: `init(sentencePiece:)`, `init(tiktoken:)`,
/// `init(huggingFace:)`, and `init(serialized:)` for the form that is embedded in a model pack. A copy shares the
/// vocabulary; nothing changes after `init`, so any number of threads may use one tokenizer.
///
/// Format: Formats/tokenizer.md.
public struct Tokenizer: Sendable {
  let vocabulary: Vocabulary
  /// One line for each thing that the files said twice, and differently, or that was left out. Not serialized.
  public internal(set) var importNotes: [String] = []

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
  /// The symbols of bytes, or of the characters below 0x80.
  let smallSymbols: [UInt32]
  /// The symbols of the other characters.
  let characterSymbols: [UInt32: UInt32]
  /// The tokens of the 256 bytes, for `byteFallback`.
  let byteTokens: [Int32]
  let namedTokens: [[UInt8]: Int32]
  /// Matched in every text.
  let userDefined: PieceTrie
  /// Matched in texts whose special tokens are wanted.
  let special: PieceTrie
  /// With steps: the added tokens that are found in the text as it is, and in the normalized text.
  let rawAdded: PieceTrie
  let normalizedAdded: PieceTrie
  /// What `normalizers` and `splits` do; nil without `usesSteps`.
  let steps: StepPlan?
  let hasTokenOptions: Bool
  let hasUnused: Bool
  /// No piece has a space after something else, so that no merge goes past the start of a word.
  let isBrokenBySpaces: Bool
  /// Built by the first `encodingTables`: opening LLaMA-3's vocabulary would take three times as long with them.
  fileprivate let lazyTables = Mutex<EncodingTables?>(nil)

  /// - Throws: `TokenizerError` when the parts contradict each other. What passes can be encoded with and decoded
  ///   without a trap.
  init(_ definition: TokenizerDefinition) throws(TokenizerError) {
    try definition.check()
    self.definition = definition
    let usesSteps = definition.flags.contains(.usesSteps)
    steps = usesSteps ? try StepPlan(definition) : nil
    hasTokenOptions = !definition.options.isEmpty
    let pieces = definition.pieces
    let kinds = definition.kinds
    var small = [UInt32](repeating: Symbol.unknown, count: 256)
    var characters: [UInt32: UInt32] = [:]
    var byteTokens = [Int32](repeating: -1, count: 256)
    var named: [[UInt8]: Int32] = [:]
    var userDefined = PieceTrie()
    var special = PieceTrie()
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
      case .normal, .unused: break
      case .inert: continue
      }
      switch definition.unit {
      case .bytes:
        if range.count == 1, kind == .normal { small[Int(bytes[range.lowerBound])] = UInt32(index) }
      case .characters:
        // No character is longer.
        guard range.count <= 4 else { continue }
        let scalar = UTF8Scan.scalar(at: range.lowerBound, of: bytes)
        guard scalar.byteCount == range.count, kind == .normal || kind == .unused else { continue }
        if scalar.value < 0x80 {
          small[Int(scalar.value)] = UInt32(index)
        } else {
          characters[scalar.value] = UInt32(index)
        }
      }
    }
    for (index, scalar) in definition.extraCharacters.enumerated() {
      let symbol = UInt32(pieces.count + index)
      if scalar < 0x80 { small[Int(scalar)] = symbol } else { characters[scalar] = symbol }
    }
    if definition.unit == .bytes, !usesSteps, let missing = small.firstIndex(of: Symbol.unknown) {
      throw TokenizerError(.missingPiece, "byte \(missing)", "no piece is this byte alone")
    }
    if definition.flags.contains(.byteFallback), !usesSteps, let missing = byteTokens.firstIndex(of: -1) {
      throw TokenizerError(.missingPiece, "byte \(missing)", "byte fallback needs a byte piece")
    }
    smallSymbols = small
    characterSymbols = characters
    self.byteTokens = byteTokens
    namedTokens = named
    self.userDefined = userDefined
    self.special = special
    (rawAdded, normalizedAdded) = usesSteps ? try Self.addedTokens(definition, steps) : (PieceTrie(), PieceTrie())
    hasUnused = kinds.contains(.unused)
    isBrokenBySpaces = definition.unit == .characters && !usesSteps && !definition.hasSpaceWithinPiece
  }

  /// What is looked for in texts before they are normalized, and after.
  private static func addedTokens(
    _ definition: TokenizerDefinition, _ steps: StepPlan?
  ) throws(TokenizerError) -> (raw: PieceTrie, normalized: PieceTrie) {
    var raw = PieceTrie()
    var normalized = PieceTrie()
    // For all of them together.
    var cost = PatternLimits.steps(for: definition.options.count * 64)
    for index in definition.kinds.indices {
      guard definition.kinds[index] == .control || definition.kinds[index] == .userDefined else { continue }
      let token = Int32(index)
      guard definition.options[token]?.contains(.normalized) == true else {
        raw.insert(definition.pieces[index], token: token)
        continue
      }
      var text = NormalizedText(definition.pieces[index], trackingSources: false)
      steps?.normalize(&text, continuing: false, &cost)
      guard !text.bytes.isEmpty else {
        throw TokenizerError(.unsupported, "added token \(index)", "nothing is left of it in normalized text")
      }
      // Of two that are equal when normalized, the first one counts.
      if !normalized.contains(text.bytes) { normalized.insert(text.bytes, token: token) }
    }
    return (raw, normalized)
  }
}

/// The tables that are looked up for each word of a text.
struct EncodingTables: Sendable {
  let merges: MergeTable
  /// The words that are pieces, for `wholePieceFirst`.
  let words: PieceIndex

  init(_ definition: TokenizerDefinition) {
    merges = MergeTable(definition.merges)
    let wantsWords = definition.flags.contains(.wholePieceFirst)
    var words = PieceIndex(capacity: wantsWords ? definition.pieces.count : 0)
    if wantsWords {
      for index in definition.kinds.indices where definition.kinds[index] == .normal {
        _ = words.insert(index, of: definition.pieces)
      }
    }
    self.words = words
  }
}

extension Vocabulary {
  var encodingTables: EncodingTables {
    lazyTables.withLock { tables in
      if let tables { return tables }
      let built = EncodingTables(definition)
      tables = built
      return built
    }
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
