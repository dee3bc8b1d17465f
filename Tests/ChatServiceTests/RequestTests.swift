import CanonicalJSON
import LlamaRuntime
import SharedPack
import Testing

@testable import ChatService

/// What requests are taken for, and which field of a wrong one is named.
@Suite struct RequestTests {
  private func chat(_ json: String) throws(RequestFault) -> ChatRequest {
    try ChatRequest(parsing: Array(json.utf8), limit: 100)
  }

  @Test func everyFieldArrives() throws {
    let request = try chat(
      #"""
      {"model": "m@emma.txt", "messages": [{"role": "developer", "content": "Be brief."},
       {"role": "user", "content": [{"type": "text", "text": "Who?"}, {"type": "file", "file": {"file_id": "file-6566"}}]}],
       "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": -1, "stop": ["a", "b"], "max_tokens": 7,
       "stream": true, "stream_options": {"include_usage": true}, "n": 1, "logprobs": true, "top_logprobs": 3,
       "documents": "novels/emma.txt", "tools": [], "frequency_penalty": 0, "user": "somebody", "unknown": {"a": [1]}}
      """#)
    #expect(request.messages == [.system("Be brief."), .user("Who?")])
    let fields = request.fields
    #expect(fields.model == "m@emma.txt")
    #expect(fields.documents == ["novels/emma.txt", "ef"])
    #expect(fields.isStreamed && fields.includesUsage)
    #expect(fields.logProbabilities == 3)
    #expect(
      fields.options
        == GenerationOptions(
          maxTokens: 7,
          sampling: SamplingOptions(temperature: 0.5, topK: 40, topP: 0.9, minP: 0.1, seed: .max),
          stopStrings: ["a", "b"]))
  }

  @Test func nothingButMessagesIsNeeded() throws {
    let fields = try chat(#"{"messages": [{"role": "user", "content": "Hi"}], "temperature": null}"#).fields
    #expect(fields.model == nil && fields.documents.isEmpty && !fields.isStreamed && fields.logProbabilities == nil)
    #expect(fields.options.maxTokens == 100 && fields.options.sampling.temperature == 0)
  }

  @Test func newerNameOfTheLimitCounts() throws {
    let json = #"{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "max_completion_tokens": 6}"#
    #expect(try chat(json).fields.options.maxTokens == 6)
  }

  @Test(arguments: [
    ("messages", "[]"), ("messages", "7"), ("messages", "null"), ("n", "2"), ("temperature", "3"),
    ("temperature", "\"hot\""), ("top_p", "-1"), ("max_tokens", "0"), ("max_tokens", "1.5"), ("stop[0]", "[1]"),
    ("stream", "\"yes\""), ("stream_options", "[]"), ("top_logprobs", "2"), ("logprobs", "1"), ("tools", "[{}]"),
    ("logit_bias", "{\"1\": 2}"), ("response_format", "{\"type\": \"json_object\"}"), ("seed", "1e30"),
    ("frequency_penalty", "0.5"), ("documents", "[\"a\", \"a\"]"), ("documents", "{}"),
    ("messages[0].role", "\"nobody\""), ("messages[0].role", "\"tool\""), ("messages[0].content", "7"),
    ("messages[0].content[0].type", "\"image_url\""), ("messages[0].content[0].file.file_id", "\"file-zz\""),
  ])
  func wrongFieldIsNamed(_ field: String, _ value: String) throws {
    let json =
      switch field {
      case "stop[0]": "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"stop\": \(value)}"
      case "messages": "{\"messages\": \(value)}"
      case "messages[0].role": "{\"messages\": [{\"role\": \(value), \"content\": \"Hi\"}]}"
      case "messages[0].content": "{\"messages\": [{\"role\": \"user\", \"content\": \(value)}]}"
      case "messages[0].content[0].type":
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \(value)}]}]}"
      case "messages[0].content[0].file.file_id":
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"file\", \"file\": {\"file_id\": \(value)}}]}]}"
      default: "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"\(field)\": \(value)}"
      }
    let fault = try #require(throws: RequestFault.self) { try chat(json) }
    #expect(fault.field == field)
    #expect(fault.status == (field.hasSuffix("file_id") ? 404 : 400))
  }

  @Test(arguments: [
    "", "{", "[]", "\"text\"", "{\"messages\": [], \"messages\": []}", "{\"a\": \"\u{1}\"}", "{\"a\": \"\\ud800\"}",
    String(repeating: "[", count: 100_000), "{\"messages\":" + String(repeating: "[", count: 17),
  ])
  func brokenJSONIsRefused(_ json: String) throws {
    let fault = try #require(throws: RequestFault.self) { try chat(json) }
    #expect(fault.code == "invalid_json" && fault.status == 400)
  }

  @Test func lastMessageIsTheUsers() throws {
    let json = #"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}"#
    #expect(try #require(throws: RequestFault.self) { try chat(json) }.field == "messages")
  }

  private func response(_ json: String) throws(RequestFault) -> ResponsesRequest {
    try ResponsesRequest(parsing: Array(json.utf8), limit: 100)
  }

  /// The newer kind of request is the same conversation.
  @Test func responsesAreChats() throws {
    let request = try response(
      #"""
      {"model": "m", "instructions": "Be brief.", "max_output_tokens": 7, "temperature": 0.5, "stream": true,
       "store": true, "tools": [], "text": {"format": {"type": "text"}, "verbosity": "low"}, "previous_response_id": null,
       "input": [{"role": "developer", "content": "Be kind."}, {"type": "message", "role": "user", "content": "Hi"},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Ho"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Who?"}, {"type": "input_file", "file_id": "file-6566"}]}]}
      """#)
    #expect(request.instructions == "Be brief.")
    #expect(
      request.chat.messages == [.system("Be brief.\n\nBe kind."), .user("Hi"), .assistant("Ho"), .user("Who?")])
    // The second message here is the second of the input.
    #expect(request.chat.offset == 0)
    #expect(request.chat.fields.options.maxTokens == 7 && request.chat.fields.isStreamed)
    #expect(request.chat.fields.documents == ["ef"])
    #expect(try response(#"{"input": "Hi"}"#).chat.messages == [.user("Hi")])
    #expect(try response(#"{"input": "Hi", "instructions": "Be brief."}"#).chat.offset == -1)
  }

  @Test(arguments: [
    ("previous_response_id", "\"resp_1\""), ("conversation", "\"conv_1\""), ("background", "true"),
    ("tools", "[{}]"), ("text", "{\"format\": {\"type\": \"json_schema\"}}"), ("max_output_tokens", "0"),
    ("instructions", "7"), ("input", "[]"), ("input", "7"), ("input", "null"), ("input", "[7]"),
  ])
  func wrongFieldOfAResponseIsNamed(_ field: String, _ value: String) throws {
    let input = field == "input" ? "" : "\"input\": \"Hi\", "
    let fault = try #require(throws: RequestFault.self) { try response("{\(input)\"\(field)\": \(value)}") }
    #expect(fault.field == field || value == "[7]" && fault.field == "input[0]")
    #expect(fault.status == 400)
  }

  @Test(arguments: [
    ("input[0].role", #"{"content": "Hi"}"#), ("input[0].content", #"{"role": "user"}"#),
    ("input[0].type", #"{"type": "function_call_output", "output": "x"}"#),
    ("input[0].content[0].type", #"{"role": "user", "content": [{"type": "input_image"}]}"#),
    ("input[0].content[0].text", #"{"role": "user", "content": [{"type": "input_text"}]}"#),
  ])
  func wrongItemIsNamed(_ field: String, _ item: String) throws {
    let fault = try #require(throws: RequestFault.self) { try response("{\"input\": [\(item)]}") }
    #expect(fault.field == field && fault.status == 400)
  }

  @Test func promptsOfCompletions() throws {
    func prompt(_ json: String) throws -> CompletionRequest.Prompt {
      try CompletionRequest(parsing: Array("{\"prompt\": \(json)}".utf8), limit: 100).prompt
    }
    #expect(try prompt("\"Once\"") == .text("Once"))
    #expect(try prompt("[\"Once\"]") == .text("Once"))
    #expect(try prompt("[1, 2]") == .tokens([1, 2]))
    #expect(try prompt("[[1, 2]]") == .tokens([1, 2]))
    for wrong in ["[]", "[\"a\", \"b\"]", "[1, \"a\"]", "[[[1]]]", "{}", "[2147483648]", "null"] {
      #expect(throws: RequestFault.self) { try prompt(wrong) }
    }
  }

  @Test func modelNames() {
    #expect(ModelName("m", served: "m") == ModelName(model: "m", documents: nil))
    #expect(ModelName("m@a@b", served: "m")?.documents == "a@b")
    #expect(ModelName("m@x@y", served: "m@x")?.documents == "y")
    for other in ["", "n", "m@", "M", "mm"] { #expect(ModelName(other, served: "m") == nil) }
  }

  @Test func identifiersOfFilesAreNames() {
    for name in ["emma.txt", "novels/Ümläut ☂.txt", "a\nb"] {
      #expect(FileIdentifier.name(of: FileIdentifier.of(name)) == name)
    }
    for other in ["", "file-", "file-6", "file-6G", "file-+1", "file-ff", "6566", "file-6566 "] {
      #expect(FileIdentifier.name(of: other) == nil)
    }
  }
}

/// Texts that are sent.
@Suite struct UploadTests {
  private static let form = """
    --b0\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n\
    --b0\r\nContent-Disposition: form-data; name="file"; filename="a;\\"b.txt"\r\nContent-Type: text/plain\r\n\r\n\
    one\r\n--b\r\ntwo\r\n--b0--\r\n
    """
  private static let type = "multipart/form-data; boundary=b0"

  @Test func formHasAFile() throws {
    let upload = try DocumentUpload(Array(Self.form.utf8), contentType: Self.type, name: nil)
    #expect(upload.name == "a;\"b.txt")
    #expect(String(decoding: upload.text, as: UTF8.self) == "one\r\n--b\r\ntwo")
  }

  /// However a form is cut, it is a fault and no more.
  @Test func cutFormsAreRefused() {
    let bytes = Array(Self.form.utf8)
    let end = bytes.count - "--\r\n".utf8.count
    for count in 0..<end {
      #expect(throws: RequestFault.self) {
        try DocumentUpload(Array(bytes[..<count]), contentType: Self.type, name: "x")
      }
    }
    for type in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=c"] {
      #expect(throws: RequestFault.self) { try DocumentUpload(bytes, contentType: type, name: "x") }
    }
    let many =
      String(repeating: "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n", count: 17) + "--b0--"
    #expect(throws: RequestFault.self) { try MultipartForm(Array(many.utf8), contentType: Self.type) }
  }

  @Test func textsAsTheyAreAndAsJSON() throws {
    let plain = try DocumentUpload([0xEF, 0xBB, 0xBF] + Array("Hi".utf8), contentType: "text/plain", name: "a")
    #expect(plain == DocumentUpload(Array("Hi".utf8), name: "a"))
    let json = try DocumentUpload(
      Array(#"{"name": "b", "text": "Ho", "replace": true}"#.utf8), contentType: "Application/JSON; charset=utf-8",
      name: "a")
    #expect(json.name == "b" && json.isReplacing)
    for (bytes, name) in [([UInt8](), "a"), (Array("Hi".utf8), nil), ([0xFF], "a"), ([0x41, 0], "a")] {
      #expect(throws: RequestFault.self) { try DocumentUpload(bytes, contentType: nil, name: name) }
    }
  }
}

extension DocumentUpload {
  fileprivate init(_ text: [UInt8], name: String) {
    self = try! DocumentUpload(text, contentType: nil, name: name)
  }
}
