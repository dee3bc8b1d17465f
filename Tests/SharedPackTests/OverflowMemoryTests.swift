import FileAccess
import LlamaRuntime
import Testing

@testable import SharedPack

/// What has left the window of a conversation is read as the same text of a document is, to the last bit.
@Suite struct OverflowMemoryTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let text = "User: anna keeps the red boat in kiel. it is old.\n\nAssistant: that is good to know.\n\n"
  private static let question = "where is the boat"

  private func logProbabilities(_ model: LanguageModel, _ inquiry: Inquiry) async throws -> [TokenChoice] {
    let options = GenerationOptions(maxTokens: 12, ignoresEndOfText: true)
    return try await AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28)).submit(
      AnswerRequest(inquiry, options: options, logProbabilities: 20)
    ).collect().tokens
  }

  @Test(arguments: [TensorEncoding.int8(groupSize: 32), .float32])
  func plainModelReadsItAsADocument(_ encoding: TensorEncoding) async throws {
    let model = try TinyModel(injection: .none, window: 1024, quantization: encoding).open(in: scratch)
    let path = try scratch.write(Self.text, to: "text")
    let document = try model.textDocument(DocumentSource(name: "text", path: path))
    let right = try model.inquiry(Self.question, about: [document], behind: model.readingFrame(), explains: true)
    let memory = try OverflowMemory(model, limit: 1 << 26)
    for _ in 0..<2 {
      let inquiry = try memory.inquiry(Self.question, about: Self.text, scope: "")
      #expect(inquiry.prompt == right.prompt && inquiry.sources == right.sources)
      #expect(try await logProbabilities(model, inquiry) == logProbabilities(model, right))
    }
    #expect(memory.byteCount > 0)
  }

  @Test func treesAreThoseOfADocument() async throws {
    let model = try TinyModel(window: 1024).open(in: scratch)
    let path = try scratch.write(Self.text, to: "text")
    let document = try model.encode(DocumentSource(name: "text", path: path))
    let right = try model.inquiry(Self.question, about: [document], explains: true)
    let memory = try OverflowMemory(model, limit: 1 << 26)
    for _ in 0..<2 {
      let inquiry = try memory.inquiry(Self.question, about: Self.text, scope: "")
      #expect(inquiry.sources == right.sources && inquiry.context?.rowCount == right.context?.rowCount)
      #expect(try await logProbabilities(model, inquiry) == logProbabilities(model, right))
    }
  }

  /// What was not used for longest goes first.
  @Test func leastRecentlyUsedGoesFirst() throws {
    let model = try TinyModel(window: 1024).open(in: scratch)
    let probe = try OverflowMemory(model, limit: 1 << 26)
    _ = try probe.inquiry(Self.question, about: Self.text, scope: "a")
    let byteCount = probe.byteCount
    let memory = try OverflowMemory(model, limit: byteCount * 5 / 2)
    for scope in ["a", "b", "a", "c"] {
      _ = try memory.inquiry(Self.question, about: Self.text, scope: scope)
      #expect(memory.byteCount <= byteCount * 5 / 2)
    }
    // All of "a", which was used after "b", and all of "c" are there; some of "b" is not.
    let encoded = memory.encodedTokenCount
    #expect(encoded == 3 * probe.encodedTokenCount)
    for scope in ["c", "a"] { _ = try memory.inquiry(Self.question, about: Self.text, scope: scope) }
    #expect(memory.encodedTokenCount == encoded)
    _ = try memory.inquiry(Self.question, about: Self.text, scope: "b")
    #expect(memory.encodedTokenCount > encoded)
  }
}
