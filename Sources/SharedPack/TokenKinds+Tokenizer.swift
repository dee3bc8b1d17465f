internal import LlamaRuntime
internal import Tokenization

extension Tokenizer {
  /// What FastGen treats by what it is: special tokens, and those whose text, without spaces around it, is ASCII
  /// punctuation.
  var kinds: TokenKinds {
    var kinds = TokenKinds()
    for token in 0..<Int32(vocabularySize) {
      if isSpecial(token) {
        kinds.special.insert(token)
      } else if let piece = piece(token), Self.isPunctuation(piece) {
        kinds.punctuation.insert(token)
      }
    }
    return kinds
  }

  /// - Parameter piece: with spaces as U+2581, or as bytes of a byte-level vocabulary spell them.
  private static func isPunctuation(_ piece: [UInt8]) -> Bool {
    let text = String(decoding: piece, as: UTF8.self).filter { !" \u{2581}\u{120}\n\u{10A}".contains($0) }
    let punctuation: [ClosedRange<UInt8>] = [0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E]
    return !text.isEmpty && text.utf8.allSatisfy { byte in punctuation.contains { $0.contains(byte) } }
  }
}
