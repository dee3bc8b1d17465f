import Foundation
import SeededRandom
import Testing
import Tokenization

@Suite struct SerializationTests {
  /// The example of `Formats/tokenizer.md`, read from there.
  static func example() throws -> [UInt8] {
    let path = #filePath.replacing("Tests/TokenizationTests/SerializationTests.swift", with: "Formats/tokenizer.md")
    let document = try String(contentsOfFile: path, encoding: .utf8)
    let section = try #require(document.split(separator: "## Worked example").last)
    let block = try #require(section.split(separator: "```").dropFirst().first)
    return block.split(separator: "\n").flatMap { line in
      line.prefix { $0 != "|" }.split(separator: " ").dropFirst().compactMap { UInt8($0, radix: 16) }
    }
  }

  @Test func workedExample() throws {
    let bytes = try Self.example()
    let tokenizer = try Tokenizer(serialized: bytes)
    #expect(tokenizer.encode("ab b", addingBeginOfText: true) == [1, 3, 5, 3, 4])
    #expect(tokenizer.decode([1, 3, 5, 3, 4]) == "ab b")
    #expect(tokenizer.endOfTextTokens == [2])
    // The extra character has no token.
    #expect(tokenizer.encode("ba", addingBeginOfText: false) == [3, 4, 0])
    #expect(tokenizer.serialized() == bytes)
    let pieces =
      TinyTokenizers.special + [.init(text: "▁", score: -2), .init(text: "b", score: -2), .init(text: "ab", score: -1)]
    let model = TinyTokenizers.sentencePiece(pieces, .init(byteFallback: false))
    #expect(try Tokenizer(sentencePiece: model).serialized() == bytes)
  }

  static var tokenizers: [Tokenizer] {
    get throws {
      [
        try Tokenizer(sentencePiece: TinyTokenizers.llama2), try Tokenizer(tiktoken: TinyTokenizers.llama3),
        try Tokenizer(huggingFace: TinyTokenizers.byteLevelJSON()),
        try Tokenizer(huggingFace: TinyTokenizers.characterJSON()), try Tokenizer(huggingFace: StepTests.everyStep),
      ]
    }
  }

  @Test func roundTrips() throws {
    for tokenizer in try Self.tokenizers {
      let bytes = tokenizer.serialized()
      let opened = try Tokenizer(serialized: bytes)
      #expect(opened.serialized() == bytes)
      #expect(opened.vocabularySize == tokenizer.vocabularySize)
      #expect(opened.beginOfTextToken == tokenizer.beginOfTextToken)
      #expect(opened.endOfTextTokens == tokenizer.endOfTextTokens)
      for text in ["hello world", " <s>\n\n é 12", ""] {
        #expect(
          opened.encode(text, addingBeginOfText: true) == tokenizer.encode(text, addingBeginOfText: true))
      }
    }
  }

  @Test func truncationsAndMoreBytesAreRefused() throws {
    for tokenizer in try Self.tokenizers {
      let bytes = tokenizer.serialized()
      for count in 0..<bytes.count {
        #expect(throws: TokenizerError.self) { try Tokenizer(serialized: Array(bytes[..<count])) }
      }
      #expect(throws: TokenizerError.self) { try Tokenizer(serialized: bytes + [0]) }
    }
  }

  /// Byte surgery on the example, one fault after the other.
  @Test(arguments: [
    (0, [0x54], "tokenizer-malformed"), (4, [3], "tokenizer-unknown-version"),
    (4, [2], "tokenizer-malformed"), (8, [3], "tokenizer-malformed"),
    (12, [3], "tokenizer-malformed"), (16, [5], "tokenizer-malformed"), (20, [0x80], "tokenizer-malformed"),
    (24, [1], "tokenizer-malformed"), (24, [0xFF, 0xFF, 0xFF, 0xFF], "tokenizer-missing-piece"),
    (28, [6], "tokenizer-malformed"), (32, [0xFF, 0xFF, 0xFF, 0xFF], "tokenizer-truncated"),
    (40, [0xFF, 0xFF, 0xFF, 0xFF], "tokenizer-truncated"), (40, [0], "tokenizer-malformed"),
    (56, [1], "tokenizer-malformed"), (64, [6], "tokenizer-malformed"), (68, [0xFF], "tokenizer-malformed"),
    (73, [1], "tokenizer-malformed"), (76, [0], "tokenizer-malformed"), (76, [0xFF], "tokenizer-malformed"),
    (96, [19], "tokenizer-malformed"), (100, [6], "tokenizer-malformed"), (101, [5], "tokenizer-malformed"),
    (106, [1], "tokenizer-malformed"), (119, [0xFF], "tokenizer-malformed"),
    (128, [0, 0xD8], "tokenizer-malformed"), (132, [7], "tokenizer-malformed"), (132, [3], "tokenizer-malformed"),
    (139, [0x20], "tokenizer-malformed"), (139, [0x10], "tokenizer-malformed"),
  ])
  func faults(offset: Int, bytes: [UInt8], name: String) throws {
    var changed = try Self.example()
    changed.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    #expect(RefusalTests.refusal { try Tokenizer(serialized: changed) } == name)
  }

  @Test func flippedBytes() throws {
    var random = SplitMix64(state: 11)
    for tokenizer in try Self.tokenizers {
      let bytes = tokenizer.serialized()
      for _ in 0..<1000 {
        var changed = bytes
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          changed[Int.random(in: changed.indices, using: &random)] = .random(in: 0...255, using: &random)
        }
        RefusalTests.exercise { try Tokenizer(serialized: changed) }
      }
    }
  }
}
