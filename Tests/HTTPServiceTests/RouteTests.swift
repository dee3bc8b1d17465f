import FileAccess
import Glibc
import HTTPTypes
import Testing

@testable import HTTPService

/// Waits on the thread that calls it.
func pause(milliseconds: UInt32) { usleep(milliseconds * 1000) }

extension String {
  /// What stands before some text, with it.
  func components(upTo end: String) -> String {
    guard let range = firstRange(of: end) else { return self }
    return String(self[..<range.upperBound])
  }
}

/// Addresses, keys and names of the server.
@Suite struct RouteTests {
  @Test func addresses() {
    #expect(Route(.get, "/") == .page)
    #expect(Route(.head, "/health") == .health)
    #expect(Route(.post, "/v1/chat/completions?x=1") == .chat)
    #expect(Route(.post, "/v1/responses") == .response)
    #expect(Route(.get, "/v1/models/tiny%40a%2Fb.txt") == .model("tiny@a/b.txt"))
    #expect(Route(.post, "/v1/documents?name=a+b%2F%C3%A4&replace=1") == .addDocument(name: "a b/ä", replaces: true))
    #expect(Route(.delete, "/v1/documents?name=a") == .removeDocument("a"))
    #expect(Route(.delete, "/v1/documents/a/b") == .removeDocument("a/b"))
    #expect(Route(.delete, "/v1/files/file-61") == .removeFile("file-61"))
    #expect(Route(.get, "/v1/files/file-61/content") == .fileContent("file-61"))
    #expect(Route(.put, "/v1/documents") == .otherMethod(allowed: "GET, POST, DELETE"))
    #expect(Route(.get, "/v1/chat/completions") == .otherMethod(allowed: "POST"))
    for target in ["", "//", "/v1", "/v1/models/%", "/v1/models/%zz", "/V1/models", "*", "http://x/"] {
      #expect(Route(.get, target) == .none)
    }
  }

  @Test func keysAreReadAndNotGuessed() throws {
    let ring = try KeyRing(parsing: "# a comment\n0123456789abcdef\r\n\n  \nfedcba9876543210\n", file: "keys")
    #expect(ring.count == 2)
    let scopes = [ring.scope(of: "0123456789abcdef"), ring.scope(of: "fedcba9876543210")]
    #expect(scopes[0] != nil && scopes[1] != nil && scopes[0] != scopes[1])
    for wrong in ["", "0123456789abcde", "0123456789abcdef ", "# a comment"] { #expect(ring.scope(of: wrong) == nil) }
    for text in ["", "# nothing\n", "short\n", "0123456789abcdef with spaces\n", "0123456789abcdefä\n"] {
      let refusal = try #require(throws: Refusal.self) { try KeyRing(parsing: text, file: "keys") }
      #expect(refusal.name == .badKeyFile && !refusal.description.contains("0123"))
    }
  }

  @Test func loopback() {
    var settings = ServerSettings()
    for host in ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"] {
      settings.host = host
      #expect(settings.isLoopback)
    }
    for host in ["0.0.0.0", "::", "127.0.0.1.example.org", "127.0.0", "192.168.1.2", ""] {
      settings.host = host
      #expect(!settings.isLoopback)
    }
  }
}

/// What is answered to whom.
@Suite struct AnswerTests {
  @Test func everyRouteAnswers() async throws {
    let place = try await Place()
    func ask(_ method: String, _ path: String, _ body: String = "", fields: String = "") async throws -> String {
      try await place.ask(place.request(method, path, body, fields: fields)) ?? "no end"
    }
    #expect(try await ask("GET", "/").contains("<!doctype html>"))
    #expect(try await ask("HEAD", "/").hasSuffix("\r\n\r\n"))
    #expect(try await ask("GET", "/health").contains("\"status\":\"ok\""))
    #expect(try await ask("GET", "/v1/models").contains("\"id\":\"tiny\""))
    #expect(try await ask("POST", "/v1/chat/completions", Place.chat).hasPrefix("HTTP/1.1 200 OK\r\n"))
    let streamed = Place.chat.replacing("{\"messages\"", with: "{\"stream\": true, \"messages\"")
    let stream = try await ask("POST", "/v1/chat/completions", streamed)
    #expect(stream.contains("Content-Type: text/event-stream") && stream.contains("data: [DONE]\n\n"))
    #expect(try await ask("POST", "/v1/completions", #"{"prompt": "ab"}"#).contains("text_completion"))
    #expect(try await ask("POST", "/tokenize", #"{"prompt": "ab"}"#).contains("\"count\":"))
    let text = "the boat is red"
    #expect(try await ask("POST", "/v1/documents?name=a%2Fb", text).contains("\"outcome\":\"added\""))
    #expect(try await ask("POST", "/v1/documents?name=a%2Fb", text).contains("\"outcome\":\"unchanged\""))
    #expect(try await ask("POST", "/v1/documents?name=a%2Fb", "another").hasPrefix("HTTP/1.1 409 "))
    let events = try await ask("POST", "/v1/documents?name=c", text, fields: "Accept: text/event-stream\r\n")
    #expect(events.contains("\"event\":\"added\""))
    #expect(try await ask("GET", "/v1/documents").contains("\"name\":\"a/b\""))
    #expect(try await ask("GET", "/v1/files").contains("\"filename\":\"c\""))
    #expect(try await ask("GET", "/v1/files/file-63/content").hasSuffix("\r\n\r\n\(text)"))
    #expect(try await ask("DELETE", "/v1/files/file-63").contains("\"deleted\":true"))
    #expect(try await ask("GET", "/v1/files/file-63/content").hasPrefix("HTTP/1.1 404 "))
    #expect(try await ask("DELETE", "/v1/documents?name=a%2Fb").contains("\"deleted\":true"))
    let metrics = try await ask("GET", "/metrics")
    #expect(metrics.contains("sharedpack_http_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 2"))
    try await place.end()
  }

  @Test func keysAreAskedFor() async throws {
    let key = "0123456789abcdef"
    let ring = try KeyRing(parsing: key, file: "keys")
    let place = try await Place { $0.keys = ring }
    for fields in [
      "", "Authorization: Bearer \(key)0\r\n", "Authorization: \(key)\r\n", "Authorization: Basic \(key)\r\n",
    ] {
      let told = try await place.ask(place.request("GET", "/v1/models", fields: fields)) ?? ""
      #expect(told.hasPrefix("HTTP/1.1 401 ") && told.lowercased().contains("www-authenticate: bearer"))
    }
    let told = try await place.ask(place.request("GET", "/v1/models", fields: "Authorization: bearer \(key)\r\n"))
    #expect(told?.hasPrefix("HTTP/1.1 200 ") == true)
    #expect(try await place.ask(place.request("GET", "/health"))?.hasPrefix("HTTP/1.1 200 ") == true)
    try await place.end()
  }

  @Test func allowedPagesMayRead() async throws {
    let origin = "https://example.org"
    let place = try await Place { $0.origins = [origin] }
    let told = try await place.ask(place.request("GET", "/v1/models", fields: "Origin: \(origin)\r\n")) ?? ""
    #expect(told.contains("Access-Control-Allow-Origin: \(origin)\r\n"))
    let before = try await place.ask(place.request("OPTIONS", "/v1/models", fields: "Origin: \(origin)\r\n")) ?? ""
    #expect(before.hasPrefix("HTTP/1.1 204 ") && before.contains("Access-Control-Allow-Headers: Authorization"))
    let own = "http://127.0.0.1:\(place.port)"
    let page = try await place.ask(place.request("GET", "/v1/models", fields: "Origin: \(own)\r\n")) ?? ""
    #expect(page.hasPrefix("HTTP/1.1 200 ") && !page.contains("Access-Control"))
    try await place.end()
  }

  /// Several requests on one connection, sent at once.
  @Test func requestsFollowOneAnother() async throws {
    let place = try await Place()
    let one = "GET /health HTTP/1.1\r\nHost: 127.0.0.1:\(place.port)\r\n\r\n"
    let told = try await place.ask(one + one + place.request("GET", "/health")) ?? ""
    #expect(told.split(separator: "HTTP/1.1 200 OK").count == 3)
    try await place.end()
  }
}
