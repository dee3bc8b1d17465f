import Testing
import Tokenization

@Suite struct StreamDecoderTests {
  static let texts = [
    "", " ", "  hello world ", "hello\n\nworld", "\u{1F468}\u{200D}\u{1F469} é 漢字 \u{FFFD}\u{10FFFF}",
    "\u{0}\u{1F}\u{7F}",
    "<s>hello</s>", "e\u{301}\u{302}",
  ]

  @Test(arguments: texts) func streamingEqualsDecoding(text: String) throws {
    for tokenizer in [
      try Tokenizer(sentencePiece: TinyTokenizers.llama2), try Tokenizer(tiktoken: TinyTokenizers.llama3),
    ] {
      let tokens = tokenizer.encode(text, addingBeginOfText: true)
      var decoder = tokenizer.makeStreamDecoder()
      let parts = tokens.map { decoder.push($0) } + [decoder.finish()]
      #expect(parts.joined() == text)
      #expect(tokenizer.decode(tokens) == text)
      if !text.contains("\u{FFFD}") { #expect(!parts.joined().contains("\u{FFFD}")) }
    }
  }

  @Test func halfACharacterWaits() throws {
    let tokenizer = try Tokenizer(tiktoken: TinyTokenizers.llama3)
    var decoder = tokenizer.makeStreamDecoder()
    #expect([0xF0, 0x9F, 0x91].map { decoder.push($0) } == ["", "", ""])
    #expect(decoder.push(0xA8) == "\u{1F468}")
    #expect(decoder.push(0xF0) == "")
    #expect(decoder.push(0x41) == "\u{FFFD}A")
    #expect(decoder.push(0xE2) == "")
    #expect(decoder.finish() == "\u{FFFD}")
    #expect(decoder.finish() == "")
  }

  @Test func theSpaceInFrontGoesOnlyAtTheStart() throws {
    let tokenizer = try Tokenizer(sentencePiece: TinyTokenizers.llama2)
    let hello = tokenizer.encode("hello", addingBeginOfText: false)
    var start = tokenizer.makeStreamDecoder(after: [1])
    #expect(start.push(hello[0]) == "hello")
    #expect(start.push(hello[0]) == " hello")
    var later = tokenizer.makeStreamDecoder(after: [1] + hello)
    #expect(later.push(hello[0]) == " hello")
    // A context that ends within a character is completed.
    var within = tokenizer.makeStreamDecoder(after: [0xC3 + 3])
    #expect(within.push(0xA9 + 3) == "é")
    // Tokens beyond the vocabulary have no text.
    #expect(within.push(-1) + within.push(30_000) == "")
  }
}
