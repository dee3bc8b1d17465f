import SeededRandom
import Testing
import Tokenization

/// One refusal for each error, and no trap whatever the bytes.
@Suite struct RefusalTests {
  typealias Options = TinyTokenizers.Options

  static func refusal(_ body: () throws -> Tokenizer) -> String {
    do {
      _ = try body()
      return "none"
    } catch let error as TokenizerError {
      #expect(error.description.contains(error.name))
      return error.name
    } catch {
      return "\(error)"
    }
  }

  static func model(_ options: Options = Options(), _ extra: [TinyTokenizers.Piece] = []) -> String {
    refusal {
      try Tokenizer(sentencePiece: TinyTokenizers.sentencePiece(TinyTokenizers.llama2Pieces + extra, options))
    }
  }

  @Test func sentencePieceModels() {
    for type: UInt64 in [1, 3, 4, 9] { #expect(Self.model(Options(modelType: type)) == "tokenizer-unsupported") }
    #expect(Self.model(Options(treatsSpaceAsSuffix: true)) == "tokenizer-unsupported")
    #expect(Self.model(Options(characterMap: [1])) == "tokenizer-unsupported")
    #expect(Self.model(Options(byteFallback: false)) == "tokenizer-malformed")
    #expect(Self.model(Options(), [.init(text: "h")]) == "tokenizer-duplicate-piece")
    #expect(Self.model(Options(), [.init(text: "<s>", type: 3)]) == "tokenizer-duplicate-piece")
    #expect(Self.model(Options(), [.init(text: "<0x41>", type: 6)]) == "tokenizer-duplicate-piece")
    #expect(Self.model(Options(), [.init(text: "<0xZZ>", type: 6)]) == "tokenizer-malformed")
    #expect(Self.model(Options(), [.init(text: "other", type: 2)]) == "tokenizer-duplicate-piece")
    #expect(Self.model(Options(), [.init(text: "x", type: 7)]) == "tokenizer-malformed")
    #expect(Self.model(Options(), [.init(text: "")]) == "tokenizer-malformed")
    for score in [Float.nan, .infinity, -.infinity] {
      #expect(Self.model(Options(), [.init(text: "x", score: score)]) == "tokenizer-bad-score")
    }
    #expect(Self.model(Options(), [.init(text: String(repeating: "x", count: 4097))]) == "tokenizer-too-large")
    let fewBytes = TinyTokenizers.llama2Pieces.filter { $0.text != "<0x41>" }
    #expect(
      Self.refusal { try Tokenizer(sentencePiece: TinyTokenizers.sentencePiece(fewBytes)) } == "tokenizer-missing-piece"
    )
    let noUnknown = Array(TinyTokenizers.llama2Pieces.dropFirst())
    #expect(
      Self.refusal { try Tokenizer(sentencePiece: TinyTokenizers.sentencePiece(noUnknown)) }
        == "tokenizer-missing-piece")
    #expect(
      Self.refusal { try Tokenizer(sentencePiece: [UInt8](repeating: 0, count: 16 << 20 + 1)) } == "tokenizer-too-large"
    )
    let raw: [[UInt8]] = [
      // Not UTF-8, a varint of eleven bytes, a length past the end, a group, the wrong wire type.
      TinyTokenizers.field(1, TinyTokenizers.field(1, [0xFF])), [0x08] + [UInt8](repeating: 0xFF, count: 11),
      [0x0A, 0x7F, 0x00], [0x0B], [0x08, 0x01], [0x12, 0x02, 0x1D, 0x00], [0x00],
      [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
    ]
    for bytes in raw {
      #expect(Self.refusal { try Tokenizer(sentencePiece: TinyTokenizers.llama2 + bytes) } == "tokenizer-malformed")
    }
  }

  @Test(arguments: [
    ("IQ== 0\nIg==1\n", "tokenizer-malformed"), ("IQ== 1\n", "tokenizer-malformed"),
    ("IQ== 0\nIg== 0\n", "tokenizer-malformed"),
    ("I=== 0\n", "tokenizer-malformed"), ("IR== 0\n", "tokenizer-malformed"), ("I? = 0\n", "tokenizer-malformed"),
    (" 0\n", "tokenizer-malformed"), ("IQ== 999999999\n", "tokenizer-malformed"),
    ("IQ== 0\nIQ== 1\n", "tokenizer-duplicate-piece"),
    ("IQ== 0\n", "tokenizer-missing-piece"), ("", "tokenizer-missing-piece"),
    (String(repeating: "A", count: 6000) + " 0\n", "tokenizer-too-large"),
  ])
  func ranks(text: String, name: String) {
    #expect(Self.refusal { try Tokenizer(tiktoken: Array(text.utf8)) } == name)
  }

  @Test func tokenizerJSON() {
    func bytes(_ text: [UInt8]) -> String { Self.refusal { try Tokenizer(huggingFace: text) } }
    func edited(_ text: [UInt8], _ old: String, _ new: String) -> String {
      let text = String(decoding: text, as: UTF8.self)
      #expect(text.contains(old))
      return bytes(Array(text.replacing(old, with: new).utf8))
    }
    let json = TinyTokenizers.byteLevelJSON()
    let characters = TinyTokenizers.characterJSON()
    #expect(bytes(json) == "none")
    #expect(bytes(characters) == "none")
    let unsupported = [
      edited(json, #""BPE""#, #""Unigram""#), edited(json, #""BPE""#, #""WordPiece""#),
      edited(json, #""dropout":null"#, #""dropout":0.1"#), edited(json, #"\\p{N}{1,3}"#, #"\\p{N}(a)\\1"#),
      edited(json, #"\\p{N}{1,3}"#, #"\\p{Nonsense}"#), edited(json, "Isolated", "Sideways"),
      edited(json, #""ByteLevel"}"#, #""WordPiece"}"#),
      edited(json, #""post_processor":null"#, #""post_processor":{"type":"RobertaProcessing","sep":["</s>",2]}"#),
      edited(
        json, #""post_processor":null"#,
        #""post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{}},{"SpecialToken":{"id":"x"}}]}"#
      ),
      edited(json, #""ignore_merges""#, #""end_of_word_suffix":"</w>","ignore_merges""#),
      bytes(TinyTokenizers.byteLevelJSON(normalizer: #"{"type":"Nmt"}"#)),
      bytes(
        TinyTokenizers.byteLevelJSON(normalizer: #"{"type":"Replace","pattern":{"String":""},"content":"x"}"#)),
      bytes(TinyTokenizers.byteLevelJSON(preTokenizer: #"{"type":"UnicodeScripts"}"#)),
      bytes(TinyTokenizers.characterJSON(decoder: #"{"type":"BPEDecoder"}"#)),
      edited(characters, #""prepend_scheme":"first""#, #""prepend_scheme":"last""#),
      edited(characters, #""replacement":"▁""#, #""replacement":"_""#),
    ]
    #expect(unsupported.allSatisfy { $0 == "tokenizer-unsupported" }, "\(unsupported)")
    #expect(edited(json, #""!":33"#, #""!":34"#) == "tokenizer-duplicate-piece")
    #expect(edited(json, #""!":33"#, #""!":1048577"#) == "tokenizer-too-large")
    #expect(edited(json, #"["h","e"]"#, #"["h","x"]"#) == "tokenizer-malformed")
    #expect(edited(json, #"["h","e"]"#, #""h e x""#) == "tokenizer-malformed")
    #expect(edited(json, #"["h","e"]"#, #"["h","e"],["h","e"]"#) == "tokenizer-duplicate-piece")
    #expect(edited(json, #""id":269"#, #""id":268"#) == "tokenizer-duplicate-piece")
    for text in ["", "{}", "[]", #"{"model":{"byte_fallback":true}}"#, "{\"model\":"] {
      #expect(bytes(Array(text.utf8)) == "tokenizer-malformed")
    }
  }

  @Test(arguments: [
    #"{"added_tokens_decoder":{"x":{"content":"y"}}}"#, #"{"added_tokens_decoder":{"1":{}}}"#, "[]", "{",
  ])
  func configurations(text: String) {
    let name = Self.refusal {
      try Tokenizer(
        sentencePiece: TinyTokenizers.llama2, configuration: TokenizerConfiguration(parsing: Array(text.utf8)))
    }
    #expect(name == "tokenizer-malformed")
  }

  @Test func configurationsThatAskForMore() throws {
    func name(_ text: String) -> String {
      Self.refusal {
        try Tokenizer(
          sentencePiece: TinyTokenizers.llama2, configuration: TokenizerConfiguration(parsing: Array(text.utf8)))
      }
    }
    #expect(name(#"{"add_eos_token":true}"#) == "tokenizer-unsupported")
    #expect(name(#"{"added_tokens_decoder":{"9999999":{"content":"y"}}}"#) == "tokenizer-too-large")
  }

  /// Cutting a file anywhere is refused, or gives a smaller tokenizer that works; it never traps.
  @Test func truncations() {
    let files: [([UInt8], ([UInt8]) throws -> Tokenizer)] = [
      (TinyTokenizers.llama2, { try Tokenizer(sentencePiece: $0) }),
      (TinyTokenizers.llama3, { try Tokenizer(tiktoken: $0) }),
      (TinyTokenizers.byteLevelJSON(), { try Tokenizer(huggingFace: $0) }),
      (TinyTokenizers.characterJSON(), { try Tokenizer(huggingFace: $0) }),
    ]
    for (bytes, open) in files {
      for count in 0..<bytes.count { Self.exercise { try open(Array(bytes[..<count])) } }
    }
  }

  @Test func flippedBytes() {
    var random = SplitMix64(state: 7)
    let files: [([UInt8], ([UInt8]) throws -> Tokenizer)] = [
      (TinyTokenizers.llama2, { try Tokenizer(sentencePiece: $0) }),
      (TinyTokenizers.llama3, { try Tokenizer(tiktoken: $0) }),
      (TinyTokenizers.byteLevelJSON(), { try Tokenizer(huggingFace: $0) }),
      (TinyTokenizers.characterJSON(), { try Tokenizer(huggingFace: $0) }),
    ]
    for (bytes, open) in files {
      for _ in 0..<400 {
        var changed = bytes
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          changed[Int.random(in: changed.indices, using: &random)] = .random(in: 0...255, using: &random)
        }
        Self.exercise { try open(changed) }
      }
    }
  }

  /// What opens must also encode, decode and serialize.
  static func exercise(_ open: () throws -> Tokenizer) {
    do {
      let tokenizer = try open()
      let tokens = tokenizer.encode("hello  world\u{0}é<s>", addingBeginOfText: true, parsingSpecialTokens: true)
      _ = tokenizer.decode(tokens + [-1, 0, 1, Int32.max])
      #expect(throws: Never.self) { try Tokenizer(serialized: tokenizer.serialized()) }
    } catch is TokenizerError {
    } catch {
      Issue.record("\(error)")
    }
  }
}
