import CanonicalJSON
import SeededRandom
import Testing

@testable import Tokenization

/// What a text goes through in tokenizers that are lists of steps. The expected values are those of the package
/// tokenizers 0.23.3; `Tools/verify/tokenizer-parity` compares much more.
@Suite struct StepTests {
  static func digits(_ individual: Bool) -> String { #"{"type":"Digits","individual_digits":\#(individual)}"# }
  static let byteLevel = #"{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}"#
  static func sequence(_ steps: String...) -> String {
    #"{"type":"Sequence","pretokenizers":[\#(steps.joined(separator: ","))]}"#
  }

  /// A tokenizer with each kind of step and of option.
  static var everyStep: [UInt8] {
    TinyTokenizers.byteLevelJSON(
      preTokenizer: sequence(
        digits(true), #"{"type":"Punctuation","behavior":"Contiguous"}"#,
        #"{"type":"Split","pattern":{"Regex":"[^\\s]+|\\s"},"behavior":"MergedWithNext","invert":true}"#,
        #"{"type":"Split","pattern":{"String":"h"},"behavior":"MergedWithPrevious"}"#, byteLevel, digits(false)),
      normalizer: #"""
        {"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Lowercase"},{"type":"Prepend","prepend":"x"},
         {"type":"Replace","pattern":{"Regex":"b+"},"content":"c"},
         {"type":"Strip","strip_left":true,"strip_right":false}]}
        """#,
      added: #"""
        {"id":268,"content":"<|begin_of_text|>","special":true,"normalized":false},
        {"id":300,"content":"<|eot_id|>","special":true,"lstrip":true,"normalized":true},
        {"id":301,"content":"word","special":false,"single_word":true,"normalized":false}
        """#)
  }

  private func words(_ text: String, _ steps: [SplitStep]) throws -> [String] {
    var definition = TokenizerDefinition(unit: .characters)
    definition.splits = steps
    var list = WordList(Array(text.utf8), 0..<text.utf8.count, startsText: true)
    var steps = PatternLimits.steps(for: text.utf8.count)
    try StepPlan(definition).split(&list, continuing: false, &steps)
    return list.words.map { String(decoding: list.bytes[$0], as: UTF8.self) }
  }

  private func matches(_ pattern: String, _ text: String) throws -> [String] {
    try words(text, [.split(.expression(Array(pattern.utf8)), .removed, inverts: true)])
  }

  @Test func behaviours() throws {
    func split(_ behaviour: SplitBehaviour, _ inverts: Bool = false) throws -> [String] {
      try words("a--b-c", [.split(.literal([0x2D]), behaviour, inverts: inverts)])
    }
    #expect(try split(.removed) == ["a", "b", "c"])
    #expect(try split(.removed, true) == ["-", "-", "-"])
    #expect(try split(.isolated) == ["a", "-", "-", "b", "-", "c"])
    #expect(try split(.mergedWithPrevious) == ["a-", "-", "b-", "c"])
    #expect(try split(.mergedWithNext) == ["a", "-", "-b", "-c"])
    #expect(try split(.contiguous) == ["a", "--", "b", "-", "c"])
  }

  @Test func steps() throws {
    #expect(try words("a12 ½b", [.digits(individual: true)]) == ["a", "1", "2", " ", "½", "b"])
    #expect(try words("a12 b", [.digits(individual: false)]) == ["a", "12", " b"])
    #expect(try words("a, b_c!", [.whitespace]) == ["a", ",", "b_c", "!"])
    #expect(try words(" a, b ", [.whitespaceSplit]) == ["a,", "b"])
    #expect(try words("a..b$", [.punctuation(.contiguous)]) == ["a", "..", "b", "$"])
    #expect(try words("a  b", [.metaspace(.everyStretchUnlessPresent, splits: true)]) == ["▁a", "▁", "▁b"])
    #expect(try words(" a b", [.metaspace(.startUnlessPresent, splits: false)]) == ["▁a▁b"])
  }

  /// Each is what Oniguruma finds.
  @Test(arguments: [
    (#"[\p{L}&&[^a]]+"#, "abca漢", ["bc", "漢"]), (#"[^(\s|[.,])]+"#, "a.b (c)", ["a", "b", "c"]),
    (#"(?i:'s|'re)|\p{Lu}"#, "it'S 'ſ 'RE A", ["'S", "'ſ", "'RE", "A"]), (#"(?i)[^a]"#, "aAb", ["b"]),
    (#"a{2,3}?|a++b"#, "aaaab", ["aa", "aa"]), (#"a*+a|b"#, "aab", ["b"]), (#"(?<=a|bc)x"#, "axbcxcx", ["x", "x"]),
    (#"(?<!a)x(?!y)"#, "axxyx", ["x"]), (#"^.|$"#, "ab\ncd", ["a", "c"]), (#"\bx\B|\h+"#, "xy 1f", ["x", "1f"]),
    (#"(?:ab|a)(?:c|bcd)"#, "abcd", ["abc"]), (#"(?>a+)b|\x{6F22}|\u00e9"#, "aab漢é", ["aab", "漢", "é"]),
    (#"\p{Han}+|\P{Han}"#, "漢字a", ["漢字", "a"]), (#"[[:alpha:]]+|[\d-]+"#, "ab1-2", ["ab", "1-2"]),
    (#"(?m:.)\z|\R"#, "a\r\nb", ["\r\n", "b"]), ("(?x) a b # c\n | d", "abd", ["ab", "d"]),
    (#"a(?i)b|c"#, "aBaCc", ["aB", "aC"]),
  ])
  func patterns(pattern: String, text: String, expected: [String]) throws {
    #expect(try matches(pattern, text) == expected)
  }

  @Test(arguments: [
    #"(a)\1"#, #"(?<n>a)\k<n>"#, #"\X"#, #"(?~a)"#, "(", ")", "[a", "*", #"\p{Nope}"#, "(?<=a+)b", "(a?)*", "[b-a]",
    "\\", "a{1001}", #"(?i)ss"#, "(?:(?:a{1000}){1000}){9}",
  ])
  func patternsThatAreRefused(pattern: String) {
    #expect(throws: PatternError.self) { try PatternProgram(pattern) }
  }

  /// No pattern and no text takes long: such a search would take longer than the universe has existed, and so would
  /// one that may start again in each of many words.
  @Test func hostilePatternsEnd() throws {
    let texts = [
      String(repeating: "a", count: 2000), String(repeating: String(repeating: "a", count: 40) + " ", count: 500),
    ]
    for text in texts {
      let clock = ContinuousClock()
      let time = try clock.measure {
        _ = try words(
          text, [.whitespaceSplit, .split(.expression(Array("(?:a|a|aa)+b".utf8)), .removed, inverts: true)])
      }
      #expect(time < .seconds(60))
    }
  }

  @Test func patternsAgainstDepth() {
    let deep = String(repeating: "(", count: 100_000)
    #expect(throws: PatternError.self) { try PatternProgram(deep) }
    #expect(throws: PatternError.self) { try PatternProgram(String(repeating: "[", count: 100_000)) }
  }

  private func normalized(_ text: String, _ step: NormalizerStep) -> String {
    var stretch = NormalizedText(Array(text.utf8)[...], trackingSources: true)
    var steps = 1000
    stretch.apply(step, nil, &steps)
    #expect(stretch.sources?.count == stretch.bytes.count)
    return String(decoding: stretch.bytes, as: UTF8.self)
  }

  @Test func forms() {
    func isEqual(_ text: String, _ form: UnicodeForm, _ expected: String) -> Bool {
      normalized(text, .form(form)).unicodeScalars.elementsEqual(expected.unicodeScalars)
    }
    #expect(isEqual("e\u{301}", .nfc, "é"))
    #expect(isEqual("é", .nfd, "e\u{301}"))
    #expect(isEqual("ﬁ²", .nfkc, "fi2"))
    #expect(isEqual("각", .nfd, "\u{1100}\u{1161}\u{11A8}"))
    #expect(isEqual("\u{1100}\u{1161}\u{11A8}", .nfc, "각"))
    // Marks are sorted by class, and one of the same class blocks the next.
    #expect(isEqual("a\u{301}\u{316}", .nfd, "a\u{316}\u{301}"))
    #expect(isEqual("a\u{316}\u{301}", .nfc, "á\u{316}"))
    #expect(isEqual("a\u{302}\u{301}\u{300}", .nfc, "ấ\u{300}"))
    #expect(isEqual("\u{212B}", .nfc, "Å"))
    // Excluded from composition.
    #expect(isEqual("\u{958}", .nfc, "\u{915}\u{93C}"))
    #expect(normalized("ÀİΣ", .lowercase).unicodeScalars.elementsEqual("ài\u{307}σ".unicodeScalars))
    #expect(normalized(" \u{3000}a b\n", .strip(left: true, right: true)) == "a b")
  }

  /// Each step would make the text sixteen times as long.
  @Test func replacementsDoNotMakeATextHuge() throws {
    let step = #"{"type":"Replace","pattern":{"String":"a"},"content":"aaaaaaaaaaaaaaaa"}"#
    let steps = Array(repeating: step, count: 60).joined(separator: ",")
    let tokenizer = try Tokenizer(
      huggingFace: TinyTokenizers.byteLevelJSON(normalizer: #"{"type":"Sequence","normalizers":[\#(steps)]}"#))
    #expect(tokenizer.encode("aaaa", addingBeginOfText: false).count < 1 << 20)
  }

  @Test func digitsAndBytes() throws {
    let tokenizer = try Tokenizer(
      huggingFace: TinyTokenizers.byteLevelJSON(preTokenizer: Self.sequence(Self.digits(true), Self.byteLevel)))
    let tokens = tokenizer.encode("hello 12 world", addingBeginOfText: false)
    // 12 is a piece, and digits never join.
    #expect(
      EncodingTests.spelled(tokenizer, tokens) == ["hello", " ", "1", "2", " world"])
    #expect(tokenizer.decode(tokens) == "hello 12 world")
    #expect(tokenizer.serialized()[4] == 2)
  }

  /// Definitions that the first version can say are written as before, so that packs keep their identities.
  @Test func shortFormsStay() throws {
    for bytes in [TinyTokenizers.byteLevelJSON(), TinyTokenizers.characterJSON()] {
      #expect(try Tokenizer(huggingFace: bytes).serialized()[4] == 1)
    }
  }

  @Test func missingBytes() throws {
    let preTokenizer = Self.sequence(Self.digits(true), Self.byteLevel)
    func tokenizer(_ model: String) throws -> Tokenizer {
      let json = String(
        decoding: TinyTokenizers.byteLevelJSON(preTokenizer: preTokenizer, model: model), as: UTF8.self)
      // The piece of "!" goes, and its id becomes a gap.
      return try Tokenizer(huggingFace: Array(json.replacing(#""!":33,"#, with: "").utf8))
    }
    let dropping = try tokenizer(#""ignore_merges":false"#)
    #expect(dropping.encode("he!!l", addingBeginOfText: false) == [256, 0x6C])
    // What is left of a word still merges.
    #expect(dropping.encode("h!e", addingBeginOfText: false) == [0x68, 0x65])
    #expect(dropping.decode([33]) == "")
    #expect(dropping.piece(33) == [])
    let unknown = try tokenizer(#""unk_token":"Z""#)
    #expect(unknown.encode("!!", addingBeginOfText: false) == [0x5A, 0x5A])
    let fused = try tokenizer(#""unk_token":"Z","fuse_unk":true"#)
    #expect(fused.encode("!!", addingBeginOfText: false) == [0x5A])
  }

  static let optionTokens = #"""
    {"id":268,"content":"<s>","special":true,"normalized":false},
    {"id":269,"content":"<l>","special":true,"normalized":false,"lstrip":true},
    {"id":270,"content":"<r>","special":true,"normalized":false,"rstrip":true},
    {"id":271,"content":"cat","special":false,"normalized":false,"single_word":true},
    {"id":275,"content":"DOG","special":false,"normalized":true}
    """#

  @Test func optionsOfAddedTokens() throws {
    let tokenizer = try Tokenizer(
      huggingFace: TinyTokenizers.byteLevelJSON(
        preTokenizer: Self.byteLevel, normalizer: #"{"type":"Lowercase"}"#, added: Self.optionTokens))
    func tokens(_ text: String) -> [Int32] {
      tokenizer.encode(text, addingBeginOfText: false, parsingSpecialTokens: true)
    }
    #expect(tokens("  <l> <r>  \n<s>") == [269, 0x20, 270, 268])
    #expect(tokens("cat") == [271])
    #expect(tokens("cats") == [0x63, 0x61, 0x74, 0x73])
    #expect(tokens("(cat)") == [0x28, 271, 0x29])
    #expect(tokens("dog") == [275])
    #expect(tokens("DOG") == [275])
    // Ids 272 to 274 are gaps.
    #expect(tokenizer.vocabularySize == 276)
    #expect(tokenizer.decode([272, 275]) == "DOG")
  }

  /// What users wrote never becomes a special token, wherever it stands and whatever surrounds it.
  @Test func literalRanges() throws {
    let tokenizer = try Tokenizer(
      huggingFace: TinyTokenizers.byteLevelJSON(
        preTokenizer: Self.byteLevel, normalizer: #"{"type":"Lowercase"}"#,
        added: Self.optionTokens + #",{"id":276,"content":"<e>","special":true,"normalized":true}"#))
    let text = "<s>hello<s><S><e><s>cat"
    let all = tokenizer.encode(text, withoutSpecialTokensIn: [])
    #expect(all == tokenizer.encode(text, addingBeginOfText: false, parsingSpecialTokens: true))
    #expect(all == [268, 259, 268, 0x3C, 0x73, 0x3E, 276, 268, 271])
    let message = tokenizer.encode(text, withoutSpecialTokensIn: [3..<17])
    #expect(message == [268, 259, 0x3C, 0x73, 0x3E, 0x3C, 0x73, 0x3E, 0x3C, 0x65, 0x3E, 268, 271])
    #expect(message.filter { $0 == 268 }.count == 2 && !message.contains(276))
    // A spelling that a user began or ended is none; empty ranges hold nothing.
    for range in [0..<1, 2..<3, 1..<2] {
      #expect(!tokenizer.encode("<s>", withoutSpecialTokensIn: [range]).contains(268))
    }
    #expect(tokenizer.encode("<s>", withoutSpecialTokensIn: [1..<1, 3..<3]) == [268])
    // A user's text cannot take the start of a template's token away.
    #expect(tokenizer.encode("<<s>", withoutSpecialTokensIn: [0..<1]) == [0x3C, 268])
  }

  @Test func configurationsAndOlderFiles() throws {
    let older = try TokenizerConfiguration(
      parsing: Array(#"{"bos_token":"a","pad_token":"p","chat_template":[{"name":"x","template":"y"}]}"#.utf8),
      specialTokensMap: Array(#"{"bos_token":{"content":"<s>"},"additional_special_tokens":["u","v"]}"#.utf8),
      addedTokens: Array(#"{"<new>":300,"<s>":268}"#.utf8))
    #expect(older.specialTokenSpellings.map(\.key) == ["bos_token", "pad_token", "additional_special_tokens"])
    #expect(older.specialTokenSpellings.map(\.spellings) == [["<s>"], ["p"], ["u", "v"]])
    #expect(older.chatTemplates.map(\.name) == ["x"] && older.chatTemplate == nil)
    let newer = try TokenizerConfiguration(
      parsing: Array(#"{"bos_token":"a","added_tokens_decoder":{}}"#.utf8),
      specialTokensMap: Array(#"{"bos_token":"<s>"}"#.utf8))
    #expect(newer.specialTokenSpellings.map(\.spellings) == [["a"]])
    let json = TinyTokenizers.byteLevelJSON(
      preTokenizer: Self.byteLevel, added: #"{"id":268,"content":"<s>","special":true,"normalized":false}"#)
    let tokenizer = try Tokenizer(huggingFace: json, configuration: older)
    // It comes after all others, whatever id was listed.
    #expect(tokenizer.piece(269) == Array("<new>".utf8))
    #expect(tokenizer.importNotes.count == 1)
    #expect(tokenizer.beginOfTextToken == 268)
    let silent = try TokenizerConfiguration(parsing: Array(#"{"tokenizer_class":"GPT2Tokenizer"}"#.utf8))
    #expect(try Tokenizer(huggingFace: json, configuration: silent).beginOfTextToken == nil)
    let asked = try TokenizerConfiguration(
      parsing: Array(#"{"tokenizer_class":"GPT2Tokenizer","add_bos_token":true,"bos_token":"<s>"}"#.utf8))
    #expect(try Tokenizer(huggingFace: json, configuration: asked).beginOfTextToken == 268)
  }

  @Test func sentencePieceWithGapsAndOptions() throws {
    let configuration = try TokenizerConfiguration(
      parsing: Array(#"{"added_tokens_decoder":{"290":{"content":"<x>","special":true,"lstrip":true}}}"#.utf8))
    let tokenizer = try Tokenizer(sentencePiece: TinyTokenizers.llama2, configuration: configuration)
    #expect(tokenizer.vocabularySize == 291)
    #expect(tokenizer.encode("  <x>", addingBeginOfText: false, parsingSpecialTokens: true) == [290])
    #expect(try Tokenizer(serialized: tokenizer.serialized()).serialized() == tokenizer.serialized())
    let pieces = TinyTokenizers.llama2Pieces.map {
      SentencePiece(text: Array($0.text.utf8), score: $0.score, kind: .init(rawValue: Int($0.type)) ?? .normal)
    }
    let made = try Tokenizer(sentencePieces: pieces, beginOfText: 1, endOfText: [2])
    #expect(made.serialized() == (try Tokenizer(sentencePiece: TinyTokenizers.llama2).serialized()))
  }

  @Test func tokensPastTheEmbeddingGo() throws {
    let tokenizer = try Tokenizer(huggingFace: TinyTokenizers.byteLevelJSON())
    let (limited, dropped) = try tokenizer.limited(to: 260)
    #expect(limited.vocabularySize == 260)
    #expect(dropped == 10)
    #expect(limited.beginOfTextToken == nil && limited.endOfTextTokens.isEmpty)
    #expect(
      EncodingTests.spelled(limited, limited.encode("hello world", addingBeginOfText: false))
        == ["hello", " ", "w", "o", "r", "l", "d"])
    #expect(try tokenizer.limited(to: 270).dropped == 0)
  }

  /// One fault after the other in the parts that version 2 adds.
  @Test func faultsOfSteps() throws {
    let bytes = try Tokenizer(
      huggingFace: TinyTokenizers.byteLevelJSON(
        preTokenizer: Self.sequence(Self.digits(true), Self.byteLevel), added: Self.optionTokens)
    ).serialized()
    // Options of five tokens less one without, then 16 bytes for each of two steps.
    let steps = bytes.count - 32
    func refusal(_ offset: Int, _ value: UInt8) -> String {
      var changed = bytes
      changed[offset] = value
      return RefusalTests.refusal { try Tokenizer(serialized: changed) }
    }
    #expect(refusal(58, 3) != "none")
    #expect(refusal(56, 1) != "none")
    #expect(refusal(steps, 9) == "tokenizer-malformed")
    #expect(refusal(steps + 4, 2) == "tokenizer-malformed")
    #expect(refusal(steps + 8, 1) != "none")
    #expect(refusal(steps + 16, 3) == "tokenizer-malformed")
    #expect(refusal(steps + 20, 4) == "tokenizer-malformed")
    #expect(refusal(20, 0) != "none")
    #expect(refusal(12, 1) == "tokenizer-malformed")
    #expect(refusal(steps - 4, 16) == "tokenizer-malformed")
    #expect(refusal(steps - 8, 0) == "tokenizer-malformed")
  }
}
