import CanonicalJSON
import FileAccess
import SharedPack
import Testing

@testable import ChatService

/// Conversations that do not fit the window: what leaves it is still asked about.
@Suite struct OverflowTests {
  /// What is said before the question: its tokens are letters, and the window holds 512.
  private static let turns: [(role: String, content: String)] = [
    ("system", "be brief"), ("user", "anna keeps the red boat in the harbour of kiel. it is old."),
    ("assistant", "that is good to know."), ("user", String(repeating: "the weather is fine today. ", count: 8)),
    ("assistant", "indeed it is."), ("user", String(repeating: "the train to bonn is late. ", count: 8)),
    ("assistant", "what a pity."),
  ]

  private func body(
    _ turns: [(role: String, content: String)] = Self.turns, _ question: String = "where is the boat",
    _ more: String = ""
  ) -> [UInt8] {
    let messages = (turns + [("user", question)]).map {
      JSONValue.members(["role": .string($0.role), "content": .string($0.content)])
    }
    let text = String(decoding: JSONValue.members(["messages": .array(messages)]).canonical, as: UTF8.self)
    return Array((text.dropLast() + (more.isEmpty ? "" : ", \(more)") + "}").utf8)
  }

  private func fault(_ service: ChatService, _ body: [UInt8]) async throws -> RequestFault {
    try await #require(throws: RequestFault.self) { _ = try await service.chat(body, for: Caller()) }
  }

  private func answer(_ reply: JSONValue) -> String? {
    reply["choices"]?.array?.first?["message"]?["content"]?.string
  }

  @Test(arguments: [false, true])
  func whatLeavesIsAskedAbout(_ hasTrees: Bool) async throws {
    let workplace = try Workplace(window: 512, hasTrees: hasTrees)
    #expect(try await fault(workplace.service(), body()).code == "context_length_exceeded")

    let memory = try OverflowMemory(workplace.model, limit: 1 << 26)
    let service = workplace.service(overflow: memory)
    let whole = try await service.chat(body(), for: Caller()).whole()
    let told = try #require(whole["usage"]?["sharedpack"])
    let left = try #require(told["overflow_messages"]?.integer)
    // Whole turns leave, the first ones, and no more than have to; what the system says stays.
    #expect(left == 2 || left == 4)
    #expect(try #require(told["overflow_tokens"]?.integer) > 70)
    #expect(try #require(told["overflow_chunks"]?.integer) > 1)
    #expect(whole["sharedpack"]?["documents"] == .array([.string("(conversation)")]))
    let sources = try #require(whole["sharedpack"]?["sources"]?.array)
    let best = try #require(sources.first)
    if !hasTrees { #expect(best["text"]?.string?.contains("boat") == true) }
    for source in sources {
      #expect(source["document"] == .string("(conversation)"))
      let numbers = try #require(source["messages"]?.array).compactMap(\.integer)
      #expect(numbers.count == 2 && numbers[0] >= 1 && numbers[1] <= left)
    }
    if !hasTrees { #expect(best["messages"]?.array?.first == .integer(1)) }

    // What is kept changes no answer.
    #expect(try await answer(service.chat(body(), for: Caller()).whole()) == answer(whole))
    let fresh = workplace.service(overflow: try OverflowMemory(workplace.model, limit: 1 << 26))
    #expect(try await answer(fresh.chat(body(), for: Caller()).whole()) == answer(whole))

    // What fits is as it was.
    let short = try await service.chat(body(Array(Self.turns.prefix(3))), for: Caller()).whole()
    #expect(short["usage"]?["sharedpack"] == nil && short["sharedpack"] == nil)
  }

  /// The next question encodes only what is new, and those of another key see nothing of it.
  @Test func chunksAreKeptForTheirKey() async throws {
    let workplace = try Workplace(window: 512, hasTrees: true)
    let memory = try OverflowMemory(workplace.model, limit: 1 << 26)
    let service = workplace.service(overflow: memory)
    let first = Caller(scope: Caller.scope(of: "first"))
    _ = try await service.chat(body(), for: first).whole()
    let (byteCount, encoded) = (memory.byteCount, memory.encodedTokenCount)
    #expect(byteCount > 0 && encoded > 70)
    _ = try await service.chat(body(Self.turns, "who keeps the boat"), for: first).whole()
    #expect(memory.byteCount == byteCount && memory.encodedTokenCount == encoded)
    _ = try await service.chat(body(), for: Caller(scope: Caller.scope(of: "second"))).whole()
    #expect(memory.byteCount == 2 * byteCount && memory.encodedTokenCount == 2 * encoded)
    // The chunks of the first turns stay what they are when more leave, but for the last one, which has more now.
    let more = Self.turns + [("user", String(repeating: "the sea is calm. ", count: 6)), ("assistant", "so it is.")]
    let told = try await service.chat(body(more), for: first).whole()["usage"]?["sharedpack"]
    let tokens = try #require(told?["overflow_tokens"]?.integer)
    #expect(tokens > encoded && memory.encodedTokenCount - 2 * encoded <= tokens - encoded + 32)
  }

  @Test func memoryIsBounded() async throws {
    let plain = try Workplace(window: 512)
    let memory = try OverflowMemory(plain.model, limit: 20_000)
    let service = plain.service(overflow: memory)
    let right = try await answer(
      plain.service(overflow: OverflowMemory(plain.model, limit: 1 << 26)).chat(
        body(), for: Caller()
      ).whole())
    for _ in 0..<2 {
      for question in ["where is the boat", "how is the weather", "who is old"] {
        let text = try await answer(service.chat(body(Self.turns, question), for: Caller()).whole())
        if question == "where is the boat" { #expect(text == right) }
        #expect(memory.byteCount <= 20_000)
      }
    }
    let trees = try Workplace(window: 512, hasTrees: true)
    let small = trees.service(overflow: try OverflowMemory(trees.model, limit: 1000))
    #expect(try await fault(small, body()).code == "needs_more_memory")
  }

  @Test func whatCannotLeaveIsRefused() async throws {
    for hasTrees in [false, true] {
      let workplace = try Workplace(window: 512, hasTrees: hasTrees)
      let service = workplace.service(overflow: try OverflowMemory(workplace.model, limit: 1 << 26))
      let long = String(repeating: "where is the boat ", count: 40)
      #expect(try await fault(service, body(Self.turns, long)).code == "context_length_exceeded")
      #expect(try await fault(service, body([], long)).code == "context_length_exceeded")
      let system = [("system", String(repeating: "be brief ", count: 80)), ("user", "hi"), ("assistant", "ho")]
      #expect(try await fault(service, body(system)).code == "context_length_exceeded")
    }
  }

  @Test(arguments: [false, true])
  func documentsAndConversationAreRead(_ hasTrees: Bool) async throws {
    let workplace = try Workplace(window: 512, hasTrees: hasTrees)
    let library = try DocumentLibrary("\(workplace.path)/store", isByKey: false, model: workplace.model)
    let text = Array("the boat of anna is red. its mast is tall.".utf8)
    for try await _ in try library.add("boat", text: text, replacing: false, for: Caller()) {}
    let service = workplace.service(library, overflow: try OverflowMemory(workplace.model, limit: 1 << 26))
    for more in ["\"documents\": [\"boat\"]", "\"model\": \"tiny@*\""] {
      let whole = try await service.chat(body(Self.turns, "where is the boat", more), for: Caller()).whole()
      #expect(whole["sharedpack"]?["documents"] == .array([.string("boat"), .string("(conversation)")]))
      let sources = try #require(whole["sharedpack"]?["sources"]?.array)
      #expect(Set(sources.map { $0["document"] }) == [.string("boat"), .string("(conversation)")])
      for source in sources {
        #expect((source["messages"] == nil) == (source["document"] == .string("boat")))
      }
    }
  }

  /// The numbers of messages are those of the request; instructions in the middle stay.
  @Test func messagesHaveTheirNumbers() throws {
    let json =
      #"{"messages": [{"role": "system", "content": "a"}, {"role": "system", "content": "b"},"#
      + #"{"role": "user", "content": "c"}, {"role": "system", "content": "d"}, {"role": "user", "content": "e"}]}"#
    let request = try ChatRequest(parsing: Array(json.utf8), limit: 1)
    #expect(request.offset == 1)
    let earlier = EarlierMessages(request.messages, number: request.offset)
    #expect(earlier.text == "User: c\n\nUser: e\n\n" && earlier.places.map(\.number) == [2, 4])
    #expect(earlier.messages(in: 0..<9).map { [$0.first, $0.last] } == [2, 2])
    #expect(earlier.messages(in: 8..<10).map { [$0.first, $0.last] } == [2, 4])
    #expect(earlier.messages(in: 18..<19) == nil)
  }
}
