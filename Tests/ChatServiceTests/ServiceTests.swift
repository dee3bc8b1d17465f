import CanonicalJSON
import FileAccess
import SharedPack
import Testing

@testable import ChatService

/// Whole requests, to a model of made-up numbers: not what it answers, but how.
@Suite struct ServiceTests {
  let workplace: Workplace

  init() throws { workplace = try Workplace() }

  private func chat(_ more: String = "", _ content: String = "who is there") -> [UInt8] {
    Array("{\"messages\": [{\"role\": \"user\", \"content\": \"\(content)\"}]\(more.isEmpty ? "" : ", ")\(more)}".utf8)
  }

  @Test func streamSaysWhatTheWholeDoes() async throws {
    let service = workplace.service()
    let whole = try await service.chat(chat(), for: Caller()).whole()
    let text = try #require(whole["choices"]?.array?.first?["message"]?["content"]?.string)
    let usage = try #require(whole["usage"])
    #expect(usage["completion_tokens"]?.integer == 8 && usage["prompt_tokens"]?.integer == 14)
    #expect(whole["model"] == .string("tiny") && whole["object"] == .string("chat.completion"))

    var pieces: [JSONValue] = []
    let stream = try await service.chat(
      chat("\"stream\": true, \"stream_options\": {\"include_usage\": true}"), for: Caller())
    #expect(stream.isStreamed)
    try await stream.forEachPiece { piece in
      if case .data(let event) = piece { pieces.append(event.json) }
    }
    let streamed = pieces.compactMap { $0["choices"]?.array?.first?["delta"]?["content"]?.string }.joined()
    #expect(streamed == text)
    #expect(pieces.first?["choices"]?.array?.first?["delta"]?["role"] == .string("assistant"))
    #expect(pieces.last?["choices"] == .array([]))
    #expect(pieces.last?["usage"]?["completion_tokens"] == usage["completion_tokens"])
    #expect(Set(pieces.map { $0["id"] }).count == 1)
  }

  /// The newer shape says what a chat says, whole and in events.
  @Test func responsesSayWhatChatsDo() async throws {
    let service = workplace.service()
    let chat = try await service.chat(chat(), for: Caller()).whole()
    let text = try #require(chat["choices"]?.array?.first?["message"]?["content"]?.string)
    let whole = try await service.response(Array(#"{"input": "who is there"}"#.utf8), for: Caller()).whole()
    #expect(whole["object"] == .string("response") && whole["status"] == .string("incomplete"))
    #expect(whole["incomplete_details"]?["reason"] == .string("max_output_tokens"))
    #expect(whole["output"]?.array?.first?["content"]?.array?.first?["text"] == .string(text))
    #expect(whole["usage"]?["input_tokens"]?.integer == 14 && whole["usage"]?["output_tokens"]?.integer == 8)

    var events: [AnswerEventText] = []
    let stream = try await service.response(Array(#"{"input": "who is there", "stream": true}"#.utf8), for: Caller())
    try await stream.forEachPiece { piece in
      if case .data(let event) = piece { events.append(event) }
    }
    #expect(events.allSatisfy { $0.json["type"]?.string == $0.name })
    #expect(events.map { $0.json["sequence_number"] } == events.indices.map { .integer($0) })
    let names = events.map { $0.name?.replacing("response.", with: "") }
    #expect(
      Array(names.prefix(4)) == ["created", "in_progress", "output_item.added", "content_part.added"]
        && Array(names.suffix(4)) == ["output_text.done", "content_part.done", "output_item.done", "incomplete"])
    #expect(names.dropFirst(4).dropLast(4).allSatisfy { $0 == "output_text.delta" })
    #expect(events.compactMap { $0.json["delta"]?.string }.joined() == text)
    let last = try #require(events.last?.json["response"])
    #expect(last["output"]?.array?.first?["content"] == whole["output"]?.array?.first?["content"])
    #expect(last["usage"]?["output_tokens"] == whole["usage"]?["output_tokens"])
    let long = Array("{\"input\": \"\(String(repeating: "x", count: 3000))\"}".utf8)
    let fault = try await #require(throws: RequestFault.self) { _ = try await service.response(long, for: Caller()) }
    #expect(fault.code == "context_length_exceeded" && fault.field == "input")
  }

  @Test func faultsComeBeforeAnAnswer() async throws {
    let service = workplace.service()
    func fault(_ body: [UInt8]) async throws -> RequestFault {
      try await #require(throws: RequestFault.self) { _ = try await service.chat(body, for: Caller()) }
    }
    #expect(try await fault(chat("\"model\": \"other\"")).code == "model_not_found")
    #expect(
      try await fault(chat("\"stream\": true", String(repeating: "x", count: 3000))).code == "context_length_exceeded")
    #expect(try await fault(chat("\"documents\": [\"emma.txt\"]")).code == "document_not_found")
    let tokens = Array(#"{"prompt": [1, 100000]}"#.utf8)
    let outside = try await #require(throws: RequestFault.self) {
      _ = try await service.completion(tokens, for: Caller())
    }
    #expect(outside.code == "token_out_of_range" && outside.status == 400 && outside.field == "prompt")
  }

  @Test func fullQueueIsTold() async throws {
    let service = workplace.service(parallel: 1, queue: 0)
    let held = try await service.chat(chat("\"max_tokens\": 1000"), for: Caller())
    let fault = try await #require(throws: RequestFault.self) { _ = try await service.chat(chat(), for: Caller()) }
    #expect(fault.status == 429 && fault.retryAfter != nil)
    _ = held
  }

  @Test func documentsAreAskedAbout() async throws {
    let library = try DocumentLibrary("\(workplace.path)/store", isByKey: false, model: workplace.model)
    let service = workplace.service(library)
    let text = Array("the boat is red. it lies in the harbour of kiel. anna keeps it there.".utf8)
    for name in ["a/boat", "other"] {
      var last: DocumentLibrary.Event?
      for try await event in try library.add(name, text: text, replacing: false, for: Caller()) { last = event }
      guard case .added(let report) = last else {
        Issue.record("the text is added")
        return
      }
      #expect(report.name == name && report.outcome == .added)
    }
    let whole = try await service.chat(chat("\"documents\": [\"boat\"]", "where is the boat"), for: Caller()).whole()
    let told = try #require(whole["sharedpack"])
    #expect(told["documents"] == .array([.string("a/boat")]))
    let source = try #require(told["sources"]?.array?.first)
    let range = source["byte_range"]?.array?.compactMap(\.integer) ?? []
    #expect(range.count == 2 && range[1] <= text.count)
    #expect(source["text"]?.string?.isEmpty == false)
    let start = told["answer_start"]?.string ?? ""
    #expect(whole["choices"]?.array?.first?["message"]?["content"]?.string?.hasPrefix(start) == true)

    // Named otherwise, and with what was said before, which is read, too.
    let byModel = try await service.chat(chat("\"model\": \"tiny@boat\"", "where is the boat"), for: Caller()).whole()
    #expect(byModel["choices"] == whole["choices"])
    let turns =
      #"{"model": "tiny@*", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"},"#
      + #"{"role": "assistant", "content": "ho"}, {"role": "user", "content": "where is the boat"}]}"#
    let longer = try await service.chat(Array(turns.utf8), for: Caller()).whole()
    let counts = [whole, longer].compactMap { $0["usage"]?["prompt_tokens"]?.integer }
    #expect(counts.count == 2 && counts[1] > counts[0])

    let names = try await service.models(for: Caller())["data"]?.array?.compactMap { $0["id"]?.string }
    #expect(names == ["tiny", "tiny@*", "tiny@a/boat", "tiny@other"])
    try await service.remove("a/boat", for: Caller())
    #expect(try await service.documents(for: Caller())["data"]?.array?.count == 1)
    await #expect(throws: RequestFault.self) { try await service.remove("a/boat", for: Caller()) }
  }

  /// Neither names nor contents of another key can be told from what is not there.
  @Test func keysDoNotSeeEachOther() async throws {
    let path = "\(workplace.path)/stores"
    let library = try DocumentLibrary(path, isByKey: true, model: workplace.model)
    let service = workplace.service(library)
    let (first, second) = (Caller(scope: Caller.scope(of: "first")), Caller(scope: Caller.scope(of: "second")))
    #expect(first != second)
    let text = Array("the boat is red.".utf8)
    for try await _ in try library.add("../boat", text: text, replacing: false, for: first) {}
    #expect(try await service.documents(for: first)["data"]?.array?.count == 1)
    #expect(try await service.documents(for: second)["data"] == .array([]))
    let body = chat("\"documents\": [\"../boat\"]")
    await #expect(throws: RequestFault.self) { _ = try await service.chat(body, for: second) }
    await #expect(throws: RequestFault.self) { try await service.remove("../boat", for: second) }
    // What the first has read, the second reads again: how long that takes tells nothing.
    for try await event in try library.add("mine", text: text, replacing: false, for: second) {
      if case .added(let report) = event { #expect(report.encodedTokenCount == report.tokenCount) }
    }
    #expect(try Directory.names(in: path).count == 2)
    #expect(try Directory.names(in: workplace.path).sorted() == ["checkpoint", "model.spk", "stores"])
  }

  @Test func storeOfAllIsNoFolderOfStores() async throws {
    let path = "\(workplace.path)/store"
    let library = try DocumentLibrary(path, isByKey: false, model: workplace.model)
    for try await _ in try library.add("a", text: Array("the boat".utf8), replacing: false, for: Caller()) {}
    #expect(throws: Refusal.self) { try DocumentLibrary(path, isByKey: true, model: workplace.model) }
  }

  @Test func tokensThereAndBack() async throws {
    let service = workplace.service()
    let told = try await service.tokenize(Array(#"{"prompt": "abc", "add_special_tokens": false}"#.utf8))
    let tokens = try #require(told["tokens"])
    #expect(told["count"]?.integer == tokens.array?.count)
    let body = JSONValue.members(["tokens": tokens]).canonical
    #expect(try await service.detokenize(body)["prompt"] == .string("abc"))
    await #expect(throws: RequestFault.self) { _ = try await service.detokenize(Array(#"{"tokens": [-1]}"#.utf8)) }
  }
}
