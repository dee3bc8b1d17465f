import ChatService
import Conversion
import FileAccess
import Glibc
import HTTPService
import SharedPack
import Synchronization
import TinyCheckpoint

/// A server with a model of made-up numbers, on a free port of this machine.
final class Place: Sendable {
  let path: String
  let service: HTTPService
  let port: Int
  private let running: Task<Void, any Error>

  init(_ change: (inout ServerSettings) -> Void = { _ in }) async throws {
    path = try Directory.temporary("sharedpack-http")
    try Directory.create("\(path)/checkpoint")
    try TinyCheckpoint.write(to: "\(path)/checkpoint", injectionPlace: nil, window: 1024)
    _ = try Converter(directory: "\(path)/checkpoint", options: Converter.Options()).run(output: "\(path)/model.spk")
    let model = try LanguageModel(opening: "\(path)/model.spk", threadCount: 1)
    var settings = ServerSettings()
    settings.port = 0
    settings.graceSeconds = 10
    change(&settings)
    let library = try DocumentLibrary("\(path)/store", isByKey: settings.keys != nil, model: model)
    let chat = ChatService(AnswerEngine(model), library: library, modelName: "tiny", answerLimit: 8)
    let service = HTTPService(chat, settings: settings) { _ in }
    self.service = service
    let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
    running = Task {
      defer { continuation.finish() }
      try await service.run { continuation.yield($0) }
    }
    var found = 0
    for await port in ports {
      found = port
      break
    }
    port = found
  }

  func end() async throws {
    await service.end()
    try await running.value
    try Directory.removeTree(path)
  }
}

/// A connection of bytes.
final class Connection {
  private let descriptor: Int32

  init(_ port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
    let status = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        unsafe connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard status == 0 else { throw Refusal(.inputOutput, file: "socket", "cannot connect") }
    var time = timeval(tv_sec: 20, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      unsafe setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
    }
  }

  deinit { close(descriptor) }

  /// Sends what the other side takes.
  /// - Returns: whether it took all.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { bytes in
        unsafe Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  @discardableResult
  func send(_ text: String) -> Bool { send(Array(text.utf8)) }

  /// Everything until the other side closes, or 20 seconds pass without a byte.
  /// - Returns: nil when it did not close.
  func rest(atMost limit: Int = 1 << 20) -> String? {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while bytes.count < limit {
      let count = unsafe buffer.withUnsafeMutableBytes { buffer in
        unsafe recv(descriptor, buffer.baseAddress, buffer.count, 0)
      }
      if count < 0, errno == EAGAIN { return nil }
      guard count > 0 else { break }
      bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension Place {
  /// Sends a request and waits for its answer, on a thread that may wait.
  func ask(_ text: String) async throws -> String? {
    try await ask(Array(text.utf8))
  }

  func ask(_ bytes: [UInt8]) async throws -> String? {
    let port = port
    return try await onThread {
      let connection = try Connection(port)
      connection.send(bytes)
      return connection.rest()
    }
  }

  /// A request as a well-behaved client writes it.
  func request(_ method: String, _ path: String, _ body: String = "", fields: String = "") -> String {
    "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n\(fields)"
      + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  static let chat = #"{"messages": [{"role": "user", "content": "who is there"}], "max_tokens": 4}"#

  /// Whether somebody who asks in the ordinary way is answered.
  func serves() async throws -> Bool {
    try await ask(request("POST", "/v1/chat/completions", Self.chat))?.hasPrefix("HTTP/1.1 200 ") == true
  }
}

/// Waits on a thread of its own.
func onThread<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    let box = WorkBox { continuation.resume(with: Result(catching: work)) }
    var thread = pthread_t()
    let pointer = unsafe Unmanaged.passRetained(box).toOpaque()
    unsafe pthread_create(
      &thread, nil,
      { pointer in
        if let pointer = unsafe pointer { unsafe Unmanaged<WorkBox>.fromOpaque(pointer).takeRetainedValue().work() }
        return nil
      }, pointer)
    pthread_detach(thread)
  }
}

private final class WorkBox: Sendable {
  let work: @Sendable () -> Void

  init(_ work: @escaping @Sendable () -> Void) { self.work = work }
}
