import HTTPService
import Testing

/// Requests that are wrong, slow, huge or meant to harm: each has an answer or a closed connection, and somebody beside it
/// is still served.
@Suite(.serialized) struct HostileTests {
  /// A request, and what its answer begins with; empty for a connection that is closed without one.
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var bytes: @Sendable (Int) -> [UInt8]
    var answers: [String]

    init(_ name: String, _ answers: String..., text: @escaping @Sendable (Int) -> String) {
      testDescription = name
      bytes = { Array(text($0).utf8) }
      self.answers = answers.isEmpty ? [""] : answers
    }

    init(_ name: String, _ answers: String..., bytes: @escaping @Sendable (Int) -> [UInt8]) {
      testDescription = name
      self.bytes = bytes
      self.answers = answers.isEmpty ? [""] : answers
    }
  }

  private static func post(_ port: Int, _ body: String, fields: String = "") -> String {
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\(fields)"
      + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  private static func get(_ port: Int, _ path: String, host: String? = nil) -> String {
    "GET \(path) HTTP/1.1\r\nHost: \(host ?? "127.0.0.1:\(port)")\r\nConnection: close\r\n\r\n"
  }

  static let cases: [Case] = [
    Case("nothing") { _ in "" },
    Case("no HTTP at all", "HTTP/1.1 400", "") { _ in "\u{16}\u{3}\u{1}\0\0 hello\r\n\r\n" },
    Case("zeros", "HTTP/1.1 400", "") { _ in String(repeating: "\0", count: 4096) },
    Case("a version of the future", "HTTP/1.1 400", "") { _ in "GET / HTTP/9.9\r\n\r\n" },
    Case("no host", "HTTP/1.1 421", "HTTP/1.1 400") { _ in "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n" },
    Case("another host", "HTTP/1.1 421") { get($0, "/health", host: "example.org") },
    Case("another port", "HTTP/1.1 421") { get($0, "/health", host: "127.0.0.1:\($0 == 80 ? 81 : 80)") },
    Case("a name with our address in it", "HTTP/1.1 421") { get($0, "/health", host: "127.0.0.1.example.org:\($0)") },
    Case("two hosts", "HTTP/1.1 4", "") { port in
      "GET /health HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nHost: example.org\r\nConnection: close\r\n\r\n"
    },
    Case("half a head") { _ in "GET / HTTP/1.1\r\nHost: 127" },
    Case("a head of a megabyte", "HTTP/1.1 400", "HTTP/1.1 431", "") { port in
      "GET / HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nX: \(String(repeating: "a", count: 1 << 20))\r\n\r\n"
    },
    Case("ten thousand fields", "HTTP/1.1 400", "HTTP/1.1 431", "") { port in
      "GET / HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n" + String(repeating: "X: y\r\n", count: 10_000) + "\r\n"
    },
    Case("a path of a megabyte", "HTTP/1.1 4", "") { get($0, "/" + String(repeating: "a", count: 1 << 20)) },
    Case("a line that is folded", "HTTP/1.1 4", "") { port in
      "GET /nothing HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nX: a\r\n b\r\nConnection: close\r\n\r\n"
    },
    Case("a body that is promised to be huge", "HTTP/1.1 413") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nContent-Length: 99999999999\r\n\r\n{"
    },
    Case("a length that is no number", "HTTP/1.1 400", "") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nContent-Length: many\r\n\r\n{}"
    },
    Case("a length below zero", "HTTP/1.1 400", "") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nContent-Length: -1\r\n\r\n{}"
    },
    Case("two lengths", "HTTP/1.1 400", "") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"
    },
    Case("a length and chunks", "HTTP/1.1 400", "") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\nContent-Length: 2\r\n"
        + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    },
    Case("chunks that are none", "HTTP/1.1 400", "") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    },
    Case("chunks without end", "HTTP/1.1 413", "") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nTransfer-Encoding: chunked\r\n\r\n"
        + String(repeating: "10000\r\n\(String(repeating: " ", count: 65_536))\r\n", count: 40)
    },
    Case("a body that does not come") { port in
      "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nContent-Length: 100\r\n\r\n{"
    },
    Case("more than may be", "HTTP/1.1 413") { post($0, String(repeating: " ", count: 2 << 20)) },
    Case("JSON without bottom", "HTTP/1.1 400") { post($0, String(repeating: "[", count: 1 << 19)) },
    Case("objects without bottom", "HTTP/1.1 400") { post($0, String(repeating: "{\"a\":", count: 1 << 17)) },
    Case("a key twice", "HTTP/1.1 400") { post($0, "{\"messages\":[],\"messages\":[]}") },
    Case("a hundred thousand keys", "HTTP/1.1 400") { port in
      post(port, "{" + (0..<100_000).map { "\"\($0)\":1" }.joined(separator: ",") + "}")
    },
    Case("a hundred thousand messages", "HTTP/1.1 400") { port in
      post(port, "{\"messages\":[" + String(repeating: "{},", count: 100_000) + "{}]}")
    },
    Case("a number without end", "HTTP/1.1 400") {
      post($0, "{\"seed\":" + String(repeating: "9", count: 1 << 19) + "}")
    },
    Case("bytes that are no UTF-8", "HTTP/1.1 400") { port in
      Array(post(port, "{\"messages\":\"aa\"}").utf8).map { $0 == UInt8(ascii: "a") ? 0xFF : $0 }
    },
    Case("UTF-8 that is no JSON's", "HTTP/1.1 400") {
      post($0, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}")
    },
    Case("a prompt that does not fit", "HTTP/1.1 400") { port in
      post(port, "{\"messages\":[{\"role\":\"user\",\"content\":\"\(String(repeating: "a", count: 1 << 19))\"}]}")
    },
    Case("a path upwards", "HTTP/1.1 404") { get($0, "/../../../../etc/passwd") },
    Case("a path upwards, hidden", "HTTP/1.1 404") { get($0, "/v1/files/..%2f..%2f..%2fetc%2fpasswd") },
    Case("half an escape", "HTTP/1.1 404") { get($0, "/v1/models/%f") },
    Case("an escape that is no UTF-8", "HTTP/1.1 404") { get($0, "/v1/models/%ff%fe") },
    Case("a document named like a file", "HTTP/1.1 404") { port in
      post(port, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"documents\":[\"/etc/passwd\"]}")
    },
    Case("another page's request", "HTTP/1.1 403") { post($0, Place.chat, fields: "Origin: https://example.org\r\n") },
    Case("a page without an origin", "HTTP/1.1 403") { post($0, Place.chat, fields: "Origin: null\r\n") },
    Case("a method that is none", "HTTP/1.1 4", "") { port in
      "BREW / HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\r\n"
    },
    Case("a tunnel", "HTTP/1.1 4", "") { port in "CONNECT 127.0.0.1:\(port) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n"
    },
    Case("a form without end", "HTTP/1.1 400") { port in
      let body =
        "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n" + String(repeating: "\r\n--", count: 99_999)
      return "POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
        + "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    },
  ]

  private static func impatient(_ settings: inout ServerSettings) {
    settings.headSeconds = 1
    settings.bodySeconds = 1
    settings.idleSeconds = 1
    settings.writeSeconds = 1
    settings.bodyLimit = 1 << 20
  }

  @Test(.timeLimit(.minutes(3))) func everyOneIsAnsweredOrClosed() async throws {
    let place = try await Place(Self.impatient)
    for each in Self.cases {
      let answer = try await place.ask(each.bytes(place.port))
      let told = try #require(answer, "\(each.testDescription): the connection stays open")
      #expect(
        each.answers.contains { $0.isEmpty ? told.isEmpty : told.hasPrefix($0) },
        "\(each.testDescription): \(told.prefix(200))")
      #expect(try await place.serves(), "after \(each.testDescription)")
    }
    try await place.end()
  }

  /// A byte now and then keeps no connection for long.
  @Test(.timeLimit(.minutes(1))) func slowClientsAreClosed() async throws {
    let place = try await Place(Self.impatient)
    let port = place.port
    let start = ContinuousClock.now
    for head in ["", place.request("POST", "/v1/chat/completions", Place.chat).components(upTo: "\r\n\r\n")] {
      let isClosed = try await onThread {
        let connection = try Connection(port)
        connection.send(head)
        for byte in "GET /health HTTP/1.1\r\nHost: x\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
          .utf8
        {
          guard connection.send([byte]) else { return true }
          pause(milliseconds: 100)
        }
        return connection.rest() != nil
      }
      #expect(isClosed)
    }
    #expect(ContinuousClock.now - start < .seconds(14))
    #expect(try await place.serves())
    try await place.end()
  }

  /// More connections than there may be: those that ask nothing give way.
  @Test(.timeLimit(.minutes(1))) func idleConnectionsGiveWay() async throws {
    let place = try await Place { settings in
      settings.connectionLimit = 20
      settings.headSeconds = 60
    }
    let port = place.port
    let (serves, closed) = try await onThread {
      let idle = try (0..<100).map { _ in try Connection(port) }
      pause(milliseconds: 300)
      let asking = try Connection(port)
      asking.send("GET /health HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\r\n")
      let told = asking.rest() ?? ""
      return (told.hasPrefix("HTTP/1.1 200"), idle.prefix(40).count { $0.rest() == "" })
    }
    #expect(serves)
    #expect(closed == 40)
    try await place.end()
  }

  /// A client that leaves is not written for.
  @Test(.timeLimit(.minutes(1))) func whoeverLeavesGivesUpItsPlace() async throws {
    let place = try await Place()
    let port = place.port
    let body =
      #"{"messages": [{"role": "user", "content": "a"}], "max_tokens": 900, "ignore_eos": true, "stream": true}"#
    for _ in 0..<20 {
      let request = place.request("POST", "/v1/chat/completions", body)
      try await onThread {
        let connection = try Connection(port)
        connection.send(request)
        _ = connection.rest(atMost: 1)
      }
    }
    var running = "?"
    for _ in 0..<100 {
      let told = try await place.ask(place.request("GET", "/health")) ?? ""
      running = told.contains("\"running\":0") ? "0" : told
      if running == "0" { break }
      try await Task.sleep(for: .milliseconds(50))
    }
    #expect(running == "0")
    try await place.end()
  }

  /// A client that does not read what it asked for.
  @Test(.timeLimit(.minutes(1))) func whoeverDoesNotReadIsClosed() async throws {
    let place = try await Place(Self.impatient)
    let port = place.port
    let request = "GET / HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\n\r\n"
    try await onThread {
      let connection = try Connection(port)
      for _ in 0..<2000 { guard connection.send(request) else { return } }
      pause(milliseconds: 3000)
    }
    #expect(try await place.serves())
    try await place.end()
  }
}
