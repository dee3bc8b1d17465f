import Testing

@testable import Tokenization

@Suite struct TextBoundaryTests {
  private let pieces =
    TinyTokenizers.special + TinyTokenizers.bytePieces
    + ["▁", "▁He", "he", ".", ".”", "!\")", "”", "。", "1", "2", ",", "漢"].map { TinyTokenizers.Piece(text: $0) }

  private func boundary(_ previous: String, _ next: String) throws -> TextBoundary {
    func token(_ text: String) throws -> Int32 {
      Int32(try #require(pieces.firstIndex { $0.text == text }))
    }
    let tokenizer = try Tokenizer(sentencePiece: TinyTokenizers.sentencePiece(pieces))
    return tokenizer.boundary(between: try token(previous), and: try token(next))
  }

  @Test(arguments: [
    ("he", "▁He", TextBoundary.word), ("he", "▁", .word), ("he", "he", .none), ("1", "2", .none), ("1", "▁", .word),
    (".", "▁He", .sentence), (".”", "▁He", .sentence), ("!\")", "▁", .sentence), (".", "1", .none), (",", "▁He", .word),
    // A line ends whatever comes; so does what needs no space behind it.
    ("<0x0A>", "he", .sentence), ("<0x0A>", "<0x0A>", .sentence), ("he", "<0x0A>", .word), (".", "<0x0A>", .sentence),
    ("。", "漢", .sentence), ("漢", "漢", .none),
    // A quotation mark alone does not tell what was said, and special tokens have no text.
    ("”", "▁He", .word), ("<s>", "▁He", .word), ("he", "</s>", .none),
  ])
  func boundaries(_ previous: String, _ next: String, _ expected: TextBoundary) throws {
    #expect(try boundary(previous, next) == expected)
  }

  /// Pieces of byte-level vocabularies have plain spaces.
  @Test(arguments: [("hello. world", 1), ("hello.world", 0), ("hello\nworld", 1), ("hello world", 0)])
  func byteLevelPieces(_ text: String, _ sentences: Int) throws {
    let tokenizer = try Tokenizer(tiktoken: TinyTokenizers.llama3)
    let tokens = tokenizer.encode(text, addingBeginOfText: false)
    let boundaries = zip(tokens, tokens.dropFirst()).map { tokenizer.boundary(between: $0, and: $1) }
    #expect(boundaries.count { $0 == .sentence } == sentences, "\(tokens)")
  }
}
