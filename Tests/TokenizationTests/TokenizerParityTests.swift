import CanonicalJSON
import Foundation
import Testing
import Tokenization

/// Compares ids with those of other packages, which `Tools/verify/tokenizer-parity` has written into a directory.
@Test(
  "TokenizerParity",
  .enabled(
    if: ProcessInfo.processInfo.environment["SHAREDPACK_PARITY_DIR"] != nil, "Tools/verify/tokenizer-parity sets it up")
)
func tokenizerParity() throws {
  let directory = try #require(ProcessInfo.processInfo.environment["SHAREDPACK_PARITY_DIR"])
  func read(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: directory).appendingPathComponent(name)))
  }
  var tokenizers: [String: Tokenizer] = [:]
  let clock = ContinuousClock()
  for value in try #require(try JSONValue(parsing: read("cases.json")).array) {
    let parity = try ParityCase(value)
    let tokenizer: Tokenizer
    if let known = tokenizers[parity.tokenizer] {
      tokenizer = known
    } else {
      let bytes = try read(parity.tokenizer)
      var imported: Tokenizer?
      let importing = try clock.measure { imported = try parity.open(bytes) }
      let serialized = try #require(imported).serialized()
      var opened: Tokenizer?
      let opening = try clock.measure { opened = try Tokenizer(serialized: serialized) }
      tokenizer = try #require(opened)
      #expect(tokenizer.serialized() == serialized)
      if bytes.count > 100_000 {
        print("\(parity.tokenizer): imported in \(importing), \(serialized.count) bytes opened in \(opening)")
      }
      tokenizers[parity.tokenizer] = tokenizer
    }
    let bytes = try read(parity.text)
    let text = String(decoding: bytes, as: UTF8.self)
    let expected = tokens(try read(parity.ids))
    var ids: [Int32] = []
    let encoding = try clock.measure {
      if let name = parity.template {
        let template = try #require(ChatTemplate(named: name, specialTokens: [:], tokenizer: tokenizer))
        ids = try template.render(parity.messages, with: tokenizer)
      } else {
        ids = tokenizer.encode(text, addingBeginOfText: false, parsingSpecialTokens: parity.parsing)
      }
    }
    if parity.isTimed || encoding > .seconds(1) {
      print("\(parity.name): \(bytes.count) bytes, \(ids.count) tokens, \(speed(bytes.count, encoding)) MB/s")
    }
    if ids != expected {
      let first = zip(ids, expected).enumerated().first { $1.0 != $1.1 }?.offset ?? min(ids.count, expected.count)
      let window = max(0, first - 3)..<first + 5
      Issue.record(
        """
        \(parity.name): token \(first) of \(ids.count) differs from \(expected.count) expected; \
        ours \(ids.indices.clamped(to: window).map { (ids[$0], tokenizer.piece(ids[$0]).map { String(decoding: $0, as: UTF8.self) }) }), \
        theirs \(expected.indices.clamped(to: window).map { expected[$0] }), \
        before \(tokenizer.decode(ids[..<first].suffix(8)))
        """)
      continue
    }
    if parity.template != nil { continue }
    let decoded = tokenizer.decode(ids, includingSpecialTokens: parity.parsing)
    if let file = parity.decoded { #expect(decoded.utf8.elementsEqual(try read(file)), "\(parity.name): decoded") }
    if !parity.parsing, !parity.losesText {
      #expect(decoded.utf8.elementsEqual(parity.restored(bytes)), "\(parity.name): decode(encode(text))")
    }
    var stream = tokenizer.makeStreamDecoder(includingSpecialTokens: parity.parsing)
    var streamed: [UInt8] = []
    for id in ids { streamed.append(contentsOf: stream.push(id).utf8) }
    streamed.append(contentsOf: stream.finish().utf8)
    #expect(decoded.utf8.elementsEqual(streamed), "\(parity.name): streamed")
  }
}

private func speed(_ byteCount: Int, _ duration: Duration) -> Double {
  (Double(byteCount) / (duration / .microseconds(1)) * 10).rounded() / 10
}

private func tokens(_ bytes: [UInt8]) -> [Int32] {
  stride(from: 0, to: bytes.count, by: 4).map { start in
    Int32(truncatingIfNeeded: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[start + $1]) << (8 * UInt32($1)) })
  }
}

private struct ParityCase {
  let name: String
  let format: String
  let tokenizer: String
  let text: String
  let ids: String
  let decoded: String?
  let parsing: Bool
  let isTimed: Bool
  let template: String?
  var messages: [ChatMessage] = []

  init(_ value: JSONValue) throws {
    name = try #require(value["name"]?.string)
    format = try #require(value["format"]?.string)
    tokenizer = try #require(value["tokenizer"]?.string)
    text = try #require(value["text"]?.string)
    ids = try #require(value["ids"]?.string)
    decoded = value["decoded"]?.string
    parsing = try #require(value["parsing"]?.boolean as Bool?)
    isTimed = try #require(value["timed"]?.boolean as Bool?)
    template = value["template"]?.string
    for message in value["messages"]?.array ?? [] {
      let role = try #require(message["role"]?.string.flatMap { ChatMessage.Role(rawValue: $0) })
      messages.append(ChatMessage(role: role, content: try #require(message["content"]?.string)))
    }
  }

  func open(_ bytes: [UInt8]) throws -> Tokenizer {
    switch format {
    case "sentencepiece": try Tokenizer(sentencePiece: bytes)
    case "tiktoken": try Tokenizer(tiktoken: bytes)
    default: try Tokenizer(huggingFace: bytes)
    }
  }

  /// The vocabularies themselves drop spaces or have no token for some characters.
  var losesText: Bool {
    name.hasPrefix("odd-") || name.hasPrefix("gpt2-way") || name.contains("-hf-") || name.hasPrefix("kind-")
  }

  /// What decoding can give back: to a vocabulary of characters, U+2581 is a space.
  func restored(_ text: [UInt8]) -> [UInt8] {
    guard format == "sentencepiece" else { return text }
    return Array(
      String(decoding: text, as: UTF8.self).unicodeScalars.map { $0 == "\u{2581}" ? " " : String($0) }.joined().utf8)
  }
}
