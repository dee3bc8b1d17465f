extension Tokenizer {
  /// The text of tokens that start a text. What is not UTF-8 becomes U+FFFD.
  ///
  /// `decode(encode(text))` is `text`, but for what the vocabulary itself cannot tell apart: a literal U+2581 and a
  /// space, and the spaces that a model trained to remove extra ones drops.
  /// - Parameters:
  ///   - tokens: those beyond the vocabulary have no text.
  ///   - includingSpecialTokens: spells special tokens out. Otherwise they have no text.
  public func decode(_ tokens: some Sequence<Int32>, includingSpecialTokens: Bool = false) -> String {
    UTF8Scan.text(
      decodeBytes(tokens, includingSpecialTokens: includingSpecialTokens), vocabulary.invalidByteRule)
  }

  /// As `decode(_:includingSpecialTokens:)`, without checking that the bytes are UTF-8.
  public func decodeBytes(_ tokens: some Sequence<Int32>, includingSpecialTokens: Bool = false) -> [UInt8] {
    var state = DecodingState(includesSpecialTokens: includingSpecialTokens)
    var output: [UInt8] = []
    for token in tokens { vocabulary.append(token, to: &output, &state) }
    return output
  }

  /// Decodes tokens one at a time, as they are generated.
  /// - Parameter context: the tokens before the first one. Their text is not repeated.
  public func makeStreamDecoder(
    after context: some Sequence<Int32> = EmptyCollection<Int32>(), includingSpecialTokens: Bool = false
  ) -> StreamDecoder {
    var decoder = StreamDecoder(vocabulary, DecodingState(includesSpecialTokens: includingSpecialTokens))
    for token in context { decoder.skip(token) }
    return decoder
  }
}

/// Turns tokens into text as they come and never gives out half a character.
///
/// What `push` returned for some tokens, followed by what `finish` returns, is what `decode` makes of them.
public struct StreamDecoder: Sendable {
  private let vocabulary: Vocabulary
  private var state: DecodingState
  /// The bytes of a character that is not complete.
  private var waiting: [UInt8] = []

  init(_ vocabulary: Vocabulary, _ state: DecodingState) {
    self.vocabulary = vocabulary
    self.state = state
  }

  /// The text that a token completes; empty when the token ends within a character or has no text.
  public mutating func push(_ token: Int32) -> String {
    vocabulary.append(token, to: &waiting, &state)
    let count = UTF8Scan.completePrefixByteCount(waiting)
    guard count > 0 else { return "" }
    let text = UTF8Scan.text(Array(waiting[..<count]), vocabulary.invalidByteRule)
    waiting.removeFirst(count)
    return text
  }

  /// The remaining text: replacement characters for a character that was not completed.
  public mutating func finish() -> String {
    defer { waiting = [] }
    return UTF8Scan.text(waiting, vocabulary.invalidByteRule)
  }

  fileprivate mutating func skip(_ token: Int32) {
    vocabulary.append(token, to: &waiting, &state)
    waiting.removeFirst(UTF8Scan.completePrefixByteCount(waiting))
  }
}

/// Whether the space that encoding put in front of a text is still to come.
struct DecodingState: Sendable {
  var includesSpecialTokens: Bool
  var expectsSpace = true
  /// The last token was the space in front.
  private var tookSpace = false
  private var hasText = false

  init(includesSpecialTokens: Bool) { self.includesSpecialTokens = includesSpecialTokens }

  mutating func startToken() {
    if tookSpace || hasText { expectsSpace = false }
  }

  mutating func endToken(tookSpace: Bool, hasText: Bool) {
    self.tookSpace = tookSpace
    self.hasText = self.hasText || hasText
  }
}

extension Vocabulary {
  /// Adds the text of one token. The rule for the first space is SentencePiece's.
  func append(_ token: Int32, to output: inout [UInt8], _ state: inout DecodingState) {
    guard token >= 0, Int(token) < definition.kinds.count else { return }
    let piece = definition.pieces.range(Int(token))
    let bytes = definition.pieces.bytes
    switch definition.kinds[Int(token)] {
    case .control:
      state.startToken()
      state.endToken(tookSpace: false, hasText: false)
      if state.includesSpecialTokens { output.append(contentsOf: bytes[piece]) }
    case .unknown:
      state.startToken()
      state.endToken(tookSpace: false, hasText: !definition.unknownSurface.isEmpty)
      output.append(contentsOf: definition.unknownSurface)
    case .byte:
      state.endToken(tookSpace: false, hasText: true)
      output.append(bytes[piece.lowerBound])
    case .normal, .userDefined, .unused, .inert:
      guard definition.unit == .characters else {
        output.append(contentsOf: bytes[piece])
        return
      }
      state.startToken()
      appendText(bytes[piece], to: &output, &state)
    }
  }

  private func appendText(_ piece: ArraySlice<UInt8>, to output: inout [UInt8], _ state: inout DecodingState) {
    var rest = piece
    var tookSpace = false
    if state.expectsSpace, definition.flags.contains(.dropsLeadingSpace), rest.starts(with: spaceMark) {
      rest.removeFirst(spaceMark.count)
      // A model that removes extra spaces drops all at the start.
      tookSpace = !definition.flags.contains(.removesExtraSpaces)
    }
    let hasText = !rest.isEmpty
    while let byte = rest.first {
      if byte == spaceMark[0], rest.starts(with: spaceMark) {
        output.append(0x20)
        rest.removeFirst(spaceMark.count)
      } else {
        output.append(byte)
        rest.removeFirst()
      }
    }
    state.endToken(tookSpace: tookSpace, hasText: hasText)
  }
}
