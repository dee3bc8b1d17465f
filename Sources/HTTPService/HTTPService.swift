public import ChatService
public import FileAccess
import Glibc
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import SharedPack
import Synchronization

/// A server that has a model and its documents answer requests over HTTP.
///
/// Reads no file that a request names. A request that fails ends nothing but itself.
public final class HTTPService: Sendable {
  let chat: ChatService
  let settings: ServerSettings
  let counts = RequestCounts()
  let connections: ConnectionList
  let log: @Sendable (String) -> Void
  /// The documents that are being received.
  let uploads = Atomic(0)
  /// Known once the server listens.
  private let port = Atomic(0)
  private let server = Mutex<Server<HTTP1Channel>?>(nil)
  private let isEnding = Atomic(false)

  /// - Parameters:
  ///   - chat: answers requests.
  ///   - settings: where it listens, and what it takes.
  ///   - log: receives a line for each fault that is not a client's; from any thread.
  public init(_ chat: ChatService, settings: ServerSettings, log: @escaping @Sendable (String) -> Void) {
    self.chat = chat
    self.settings = settings
    self.log = log
    connections = ConnectionList(limit: settings.connectionLimit)
  }

  /// Answers until ``end()`` is called and the running answers are written.
  /// - Parameter started: called once, with the port, when the server listens.
  /// - Throws: `Refusal` `cannot-listen`.
  public func run(started: @escaping @Sendable (_ port: Int) -> Void) async throws {
    let settings = settings
    let connections = connections
    let channel = HTTP1Channel(
      responder: { request, writer, channel in try await self.respond(to: request, writer, channel) },
      configuration: HTTP1Channel.Configuration(
        additionalChannelHandlers: [ConnectionWatch(settings, connections)],
        httpDecoderConfiguration: HTTP1Channel.Configuration.DecoderConfiguration(
          maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10, maxHeaderFieldCount: 100)))
    let server = Server(
      childChannelSetup: channel,
      configuration: ServerConfiguration(address: .hostname(bareHost, port: settings.port), backlog: 1024),
      onServerRunning: { listener in
        let port = listener.localAddress?.port ?? settings.port
        self.port.store(port, ordering: .relaxed)
        started(port)
      },
      eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
      logger: Logger(label: "http") { _ in SwiftLogNoOpLogHandler() })
    self.server.withLock { $0 = server }
    do {
      try await server.run()
    } catch let error as IOError {
      throw Refusal(
        .cannotListen, file: "\(settings.host):\(settings.port)",
        "cannot be listened on: \(unsafe String(cString: strerror(error.errnoCode)))")
    } catch {
      throw Refusal(.cannotListen, file: "\(settings.host):\(settings.port)", "cannot be listened on: \(error)")
    }
  }

  /// The host as the system wants it: an address of IPv6 without its brackets.
  private var bareHost: String {
    settings.host.hasPrefix("[") && settings.host.hasSuffix("]")
      ? String(settings.host.dropFirst().dropLast()) : settings.host
  }

  /// Takes no more requests, lets the running answers end within the settings' time, and ends ``run(started:)``.
  public func end() async {
    guard !isEnding.exchange(true, ordering: .relaxed) else { return }
    await chat.engine.close(within: .seconds(settings.graceSeconds))
    guard let server = server.withLock({ $0 }) else { return }
    try? await server.shutdownGracefully()
  }

  /// Whether a request names this server, and not another name that leads here: a page of a foreign name could else have
  /// a browser on this machine ask.
  func isOurs(_ authority: String?) -> Bool {
    guard let authority, !authority.isEmpty else { return false }
    let (host, port) = Self.split(authority)
    if let port, port != self.port.load(ordering: .relaxed), !settings.hostNames.contains(authority) { return false }
    let name = host.lowercased()
    let own = settings.host.lowercased()
    if name == own || name == "[\(own)]" || settings.hostNames.contains(where: { $0.lowercased() == name }) {
      return true
    }
    if settings.hostNames.contains(authority.lowercased()) { return true }
    if settings.isLoopback { return ["localhost", "127.0.0.1", "[::1]"].contains(name) }
    // Behind an address of the machine: its addresses, which are no names.
    return settings.hostNames.isEmpty && (Self.isAddress(name) || name == "localhost")
  }

  private static func split(_ authority: String) -> (host: String, port: Int?) {
    guard let colon = authority.lastIndex(of: ":"), authority[colon...].dropFirst().allSatisfy(\.isNumber),
      authority.last != "]"
    else { return (authority, nil) }
    return (String(authority[..<colon]), Int(authority[authority.index(after: colon)...]) ?? -1)
  }

  private static func isAddress(_ name: String) -> Bool {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil } || name.hasPrefix("[") && name.hasSuffix("]")
  }
}

extension Refusal.Name {
  /// An address is not this machine's, or another program listens on the port.
  public static let cannotListen = Refusal.Name("cannot-listen", .inputOutput)
}
