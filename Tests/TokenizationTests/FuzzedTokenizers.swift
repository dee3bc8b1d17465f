import Fuzzing
import Testing
import Tokenization

/// Files of tokenizers, whatever their bytes; one that can be read encodes and decodes: see `FuzzedReader`.
@Suite struct FuzzedTokenizers {
  private static func use(_ tokenizer: Tokenizer?) {
    guard let tokenizer else { return }
    let text = "Hello  world,\n\né 12 <s> \u{1F600}<|eot_id|>"
    let tokens = tokenizer.encode(text, addingBeginOfText: true, parsingSpecialTokens: true)
    _ = tokenizer.decode(tokens)
    var decoder = tokenizer.makeStreamDecoder()
    for token in tokens { _ = decoder.push(token) }
    _ = decoder.finish()
    guard let again = try? Tokenizer(serialized: tokenizer.serialized()) else {
      preconditionFailure("what was written cannot be read")
    }
    precondition(
      again.encode(text, addingBeginOfText: true, parsingSpecialTokens: true) == tokens,
      "what was written is another tokenizer")
  }

  @Test func sentencePieces() throws {
    let few = TinyTokenizers.special + TinyTokenizers.llama2Pieces.suffix(24)
    try FuzzedReader.run(
      "sentencepiece",
      seeds: [
        TinyTokenizers.llama2, TinyTokenizers.sentencePiece(few, .init(byteFallback: false)),
      ]
    ) { Self.use(try? Tokenizer(sentencePiece: $0)) }
  }

  @Test func tokenizerJSON() throws {
    try FuzzedReader.run(
      "tokenizer-json", seeds: [TinyTokenizers.characterJSON(), TinyTokenizers.byteLevelJSON()]
    ) { Self.use(try? Tokenizer(huggingFace: $0)) }
  }

  @Test func ranks() throws {
    try FuzzedReader.run("tiktoken", seeds: [TinyTokenizers.llama3]) { Self.use(try? Tokenizer(tiktoken: $0)) }
  }

  /// The tokenizer of a pack.
  @Test func serialized() throws {
    let tokenizers = [
      try Tokenizer(sentencePiece: TinyTokenizers.llama2), try Tokenizer(huggingFace: TinyTokenizers.byteLevelJSON()),
    ]
    try FuzzedReader.run("tokenizer", seeds: tokenizers.map { $0.serialized() }) {
      Self.use(try? Tokenizer(serialized: $0))
    }
  }
}
