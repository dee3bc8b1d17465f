import Testing
import Tokenization

@testable import SharedPack

/// Text for readers: whole characters, and nothing of a stop string, wherever tokens end.
@Suite struct TextWriterTests {
  let tokenizer: Tokenizer

  init() throws { tokenizer = try Tokenizer(sentencePiece: TinyTokenizer.sentencePiece) }

  /// What is shown after each token, and at the end.
  private func write(_ tokens: [Int32], stop: [String] = []) -> (pieces: [String], hasStopped: Bool) {
    var writer = TextWriter(decoder: tokenizer.makeStreamDecoder(after: [1, 270]), stopStrings: stop)
    var pieces: [String] = []
    for token in tokens where !writer.hasStopped { pieces.append(writer.push(token)) }
    return (pieces + [writer.finish()], writer.hasStopped)
  }

  private func bytes(_ text: String) -> [Int32] { text.utf8.map(TinyTokenizer.byte) }

  @Test func charactersStayWhole() {
    let text = "aé漢🧀z"
    let (pieces, hasStopped) = write(bytes(text))
    #expect(pieces == ["a", "", "é", "", "", "漢", "", "", "", "🧀", "z", ""])
    #expect(!hasStopped)
    // A character that does not become whole is shown as what it is when the answer ends.
    let broken = write(Array(bytes("a漢").dropLast()))
    #expect(broken.pieces.joined().hasPrefix("a\u{FFFD}"))
  }

  @Test func stopStringsAreFoundAcrossTokens() {
    for stop in ["lo w", "o", "hello world", "漢字", "🧀", "h"] {
      let text = "hello world 漢字 🧀 end"
      let expected = text.firstRange(of: stop).map { String(text[..<$0.lowerBound]) } ?? text
      let (pieces, hasStopped) = write(bytes(text), stop: [stop])
      #expect(pieces.joined() == expected)
      #expect(hasStopped)
    }
  }

  /// Text that only looked like the start of a stop string is shown in the end.
  @Test func heldTextIsReleased() {
    let (pieces, hasStopped) = write(bytes("abxabab"), stop: ["abc", "abab!"])
    #expect(pieces.joined() == "abxabab")
    #expect(!hasStopped)
    // It is held no longer than needed.
    #expect(pieces[0] == "")
    #expect(pieces[2] == "abx")
  }

  /// The first byte of a character in a stop string is no stop string.
  @Test func multiByteStopStringsAreCompared() {
    #expect(write(bytes("è é"), stop: ["é"]).pieces.joined() == "è ")
    #expect(write(bytes("è ê"), stop: ["é"]).pieces.joined() == "è ê")
  }

  @Test func selfOverlappingStopStringsAreFound() {
    #expect(write(bytes("aaab"), stop: ["aab"]).pieces.joined() == "a")
    #expect(write(bytes("ababac."), stop: ["abac"]).pieces.joined() == "ab")
  }

  /// Of several stop strings the one that is complete first ends the text, however the text is cut.
  @Test func cutsDoNotDecide() throws {
    let the = try #require(tokenizer.token(spelled: "the"))
    let letters = bytes("the")
    for stop in [["the", "h"], ["h", "the"], ["the", "he"], ["e", "the"]] {
      let expected = write(letters, stop: stop).pieces.joined()
      #expect(write([the], stop: stop).pieces.joined() == expected, "\(stop)")
    }
  }

  @Test func withoutATokenizerNothingIsWritten() {
    var writer = TextWriter(decoder: nil, stopStrings: ["a"])
    #expect(writer.push(270) == "")
    #expect(writer.finish() == "")
    #expect(!writer.hasStopped)
  }
}

extension Tokenizer {
  func token(spelled text: String) -> Int32? {
    (0..<Int32(vocabularySize)).first { piece($0)?.elementsEqual(text.utf8) == true }
  }
}
