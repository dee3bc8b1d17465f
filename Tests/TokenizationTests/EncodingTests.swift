import Testing
import Tokenization

@Suite struct EncodingTests {
  static func spelled(_ tokenizer: Tokenizer, _ tokens: [Int32]) -> [String] {
    tokens.map { String(decoding: tokenizer.piece($0) ?? [], as: UTF8.self) }
  }

  @Test func mergesByScoreWithDummyPrefixAndByteFallback() throws {
    let tokenizer = try Tokenizer(sentencePiece: TinyTokenizers.llama2)
    #expect(
      Self.spelled(tokenizer, tokenizer.encode("hello world", addingBeginOfText: true)) == ["<s>", "▁hello", "▁world"])
    #expect(Self.spelled(tokenizer, tokenizer.encode("  hold", addingBeginOfText: false)) == ["▁▁", "▁h", "o", "ld"])
    #expect(Self.spelled(tokenizer, tokenizer.encodeContinuation("hello")) == ["h", "el", "lo"])
    // é is C3 A9; byte b has the id b + 3.
    #expect(tokenizer.encodeContinuation("é") == [0xC6, 0xAC])
    #expect(tokenizer.encode("", addingBeginOfText: false).isEmpty)
    #expect(tokenizer.beginOfTextToken == 1)
    #expect(tokenizer.endOfTextTokens == [2])
    #expect(tokenizer.token(named: "</s>") == 2)
    #expect(tokenizer.isSpecial(2) && !tokenizer.isSpecial(5) && !tokenizer.isSpecial(9999))
    #expect(tokenizer.piece(-1) == nil && tokenizer.piece(9999) == nil)
  }

  /// Text of others must never become a control token, also when the token is a single character.
  @Test func spellingsOfSpecialTokensAreText() throws {
    let tokenizer = try Tokenizer(sentencePiece: TinyTokenizers.llama2)
    #expect(!tokenizer.encode("<s>hello</s>", addingBeginOfText: false).contains { $0 < 3 })
    let parsed = tokenizer.encode("<s>hello</s>", addingBeginOfText: false, parsingSpecialTokens: true)
    #expect(Self.spelled(tokenizer, parsed) == ["<s>", "▁hello", "</s>"])
    #expect(tokenizer.decode(parsed) == "hello")
    #expect(tokenizer.decode(parsed, includingSpecialTokens: true) == "<s>hello</s>")
    let single = try Tokenizer(
      sentencePiece: TinyTokenizers.sentencePiece(
        TinyTokenizers.llama2Pieces + [.init(text: "d!", type: 3), .init(text: "$", type: 3)]))
    #expect(!single.encode("a$b", addingBeginOfText: false).contains(try #require(single.token(named: "$"))))
  }

  @Test func llama3WordsAndSpecialTokens() throws {
    let tokenizer = try Tokenizer(tiktoken: TinyTokenizers.llama3)
    let text = "hello world  hello\n\n1234"
    let tokens = tokenizer.encode(text, addingBeginOfText: true)
    #expect(
      Self.spelled(tokenizer, tokens)
        == ["<|begin_of_text|>", "hello", " world", " ", " ", "hello", "\n\n", "12", "3", "4"])
    #expect(tokenizer.decode(tokens) == text)
    #expect(tokenizer.vocabularySize == 268 + 256)
    #expect(tokenizer.endOfTextTokens == [269, 277])
    #expect(tokenizer.token(named: "<|reserved_special_token_250|>") == 523)
    #expect(tokenizer.encode("<|eot_id|>", addingBeginOfText: false, parsingSpecialTokens: true) == [277])
    #expect(!tokenizer.encode("<|eot_id|>", addingBeginOfText: false).contains(277))
  }

  @Test func tokenizerJSONAgreesWithTheOtherFormats() throws {
    let bytes = try Tokenizer(huggingFace: TinyTokenizers.byteLevelJSON())
    let ranks = try Tokenizer(tiktoken: TinyTokenizers.llama3)
    let merged = try Tokenizer(huggingFace: TinyTokenizers.byteLevelJSON(model: #""ignore_merges":false"#))
    let model = try Tokenizer(sentencePiece: TinyTokenizers.llama2)
    let legacy = try Tokenizer(
      huggingFace: TinyTokenizers.characterJSON(preTokenizer: "null", normalizer: TinyTokenizers.prependNormalizer))
    for text in [
      "hello world", " hello\n\n  world 1212", "", " ", "héllo 漢字 \u{1F468}\u{200D}\u{1F469}", "'s 'LL don't",
    ] {
      let expected = ranks.encode(text, addingBeginOfText: false)
      #expect(bytes.encode(text, addingBeginOfText: false) == expected)
      #expect(merged.encode(text, addingBeginOfText: false) == expected)
      #expect(legacy.encode(text, addingBeginOfText: false) == model.encode(text, addingBeginOfText: false))
      #expect(bytes.decode(expected) == text)
    }
    #expect(bytes.beginOfTextToken == 268)
    #expect(bytes.endOfTextTokens == [269])
    #expect(legacy.beginOfTextToken == 1)
    #expect(legacy.endOfTextTokens == [2])
  }

  /// transformers#28010 and llama.cpp#7094 are about this space.
  @Test func theSpaceInFrontFollowsTheFiles() throws {
    func pieces(_ json: [UInt8], _ text: String, _ parsing: Bool = true) throws -> [String] {
      let tokenizer = try Tokenizer(huggingFace: json)
      return Self.spelled(tokenizer, tokenizer.encode(text, addingBeginOfText: false, parsingSpecialTokens: parsing))
    }
    func scheme(_ name: String) -> String {
      #"{"type":"Metaspace","replacement":"▁","prepend_scheme":"\#(name)","split":false}"#
    }
    let legacy = TinyTokenizers.characterJSON(preTokenizer: "null", normalizer: TinyTokenizers.prependNormalizer)
    let first = TinyTokenizers.characterJSON(preTokenizer: scheme("first"))
    let always = TinyTokenizers.characterJSON(preTokenizer: scheme("always"))
    let never = TinyTokenizers.characterJSON(preTokenizer: scheme("never"))
    #expect(try pieces(legacy, " hello</s>hello") == ["▁", "▁hello", "</s>", "▁hello"])
    #expect(try pieces(first, " hello</s>hello") == ["▁hello", "</s>", "h", "el", "lo"])
    #expect(try pieces(always, " hello</s>hello") == ["▁hello", "</s>", "▁hello"])
    #expect(try pieces(never, "hello</s> hello") == ["h", "el", "lo", "</s>", "▁hello"])
    let model = TinyTokenizers.llama2
    let none = try Tokenizer(
      sentencePiece: model, configuration: TokenizerConfiguration(parsing: Array(#"{"add_prefix_space":false}"#.utf8)))
    #expect(Self.spelled(none, none.encode("hello", addingBeginOfText: false)) == ["h", "el", "lo"])
    #expect(none.decode(none.encode(" hello", addingBeginOfText: false)) == " hello")
    let modern = try Tokenizer(
      sentencePiece: model, configuration: TokenizerConfiguration(parsing: Array(#"{"legacy":false}"#.utf8)))
    let tokens = modern.encode("<s>hello", addingBeginOfText: false, parsingSpecialTokens: true)
    #expect(Self.spelled(modern, tokens) == ["<s>", "h", "el", "lo"])
  }

  @Test func configurationRenamesAndAddsTokens() throws {
    let json = #"""
      {"added_tokens_decoder":{"276":{"content":"<|eom_id|>","special":true},"524":{"content":"<pad>","special":true}},
       "bos_token":"<|begin_of_text|>","eos_token":{"content":"<|eot_id|>"},"chat_template":"x"}
      """#
    let configuration = try TokenizerConfiguration(parsing: Array(json.utf8))
    let tokenizer = try Tokenizer(model: TinyTokenizers.llama3, configuration: configuration)
    #expect(configuration.chatTemplate == "x")
    #expect(tokenizer.token(named: "<|eom_id|>") == 276)
    #expect(tokenizer.token(named: "<pad>") == 524)
    #expect(tokenizer.endOfTextTokens == [277, 269, 276])
    #expect(try Tokenizer(model: TinyTokenizers.llama2).beginOfTextToken == 1)
  }

  @Test func userDefinedAndUnusedPieces() throws {
    let pieces =
      TinyTokenizers.special + [
        .init(text: "a", score: -9), .init(text: "b", score: -9), .init(text: "ab", score: -1, type: 5),
        .init(text: "ba", score: -2), .init(text: "aba", score: -3), .init(text: "a b", type: 4),
      ]
    let tokenizer = try Tokenizer(
      sentencePiece: TinyTokenizers.sentencePiece(pieces, .init(byteFallback: false, addsDummyPrefix: false)))
    // ab is split again, aba is not made of it.
    #expect(tokenizer.encode("ab", addingBeginOfText: false) == [3, 4])
    #expect(tokenizer.encode("aba", addingBeginOfText: false) == [7])
    // Characters without a token in a row are one unknown token.
    #expect(tokenizer.encode("xyza", addingBeginOfText: false) == [0, 3])
    #expect(tokenizer.decode([0, 3]) == " \u{2047} a")
  }

  @Test func extraSpacesGo() throws {
    let tokenizer = try Tokenizer(
      sentencePiece: TinyTokenizers.sentencePiece(TinyTokenizers.llama2Pieces, .init(removesExtraSpaces: true)))
    #expect(
      Self.spelled(tokenizer, tokenizer.encode("   hello   world  ", addingBeginOfText: false)) == ["▁hello", "▁world"])
    #expect(tokenizer.encode("   ", addingBeginOfText: false).isEmpty)
  }

  @Test func bytesThatAreNotUTF8() throws {
    let characters = try Tokenizer(sentencePiece: TinyTokenizers.llama2)
    let bytes = try Tokenizer(tiktoken: TinyTokenizers.llama3)
    let broken: [UInt8] = [0x68, 0xE2, 0x96, 0x6F, 0xFF]
    #expect(characters.decode(characters.encode(broken, addingBeginOfText: false)) == "h\u{FFFD}\u{FFFD}o\u{FFFD}")
    #expect(bytes.decode(bytes.encode(broken, addingBeginOfText: false)) == "h\u{FFFD}o\u{FFFD}")
    // Half a character, then another one.
    #expect(characters.decode([0xE2 + 3, 0x96 + 3, 0x41 + 3]) == "\u{FFFD}\u{FFFD}A")
    #expect(bytes.decode([0xE2, 0x96, 0x41]) == "\u{FFFD}A")
  }

  /// A quadratic algorithm would take hours.
  @Test(arguments: ["h", " ", "1", "\n", "!", "漢", "e\u{301}"])
  func longRuns(unit: String) throws {
    let text = String(repeating: unit, count: 1_000_000 / unit.utf8.count)
    for tokenizer in [
      try Tokenizer(sentencePiece: TinyTokenizers.llama2), try Tokenizer(tiktoken: TinyTokenizers.llama3),
    ] {
      let tokens = tokenizer.encode(text, addingBeginOfText: false)
      #expect(tokenizer.decode(tokens) == text)
    }
  }
}
