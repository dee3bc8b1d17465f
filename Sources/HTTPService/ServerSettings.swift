/// Where a server listens, and what it takes.
public struct ServerSettings: Sendable {
  /// A name or an address.
  public var host = "127.0.0.1"
  /// 0 takes one that is free.
  public var port = 8080
  /// Those who may ask; nil for everybody.
  public var keys: KeyRing?
  /// Names under which the server may be reached besides its own address.
  public var hostNames: [String] = []
  /// Pages of other origins that may read answers, such as `https://example.org`; `*` for all.
  public var origins: [String] = []

  /// Bytes of a request in JSON, at most.
  public var bodyLimit = 8 << 20
  /// Bytes of a document that is sent, at most.
  public var uploadLimit = 64 << 20
  /// Documents that are received at once, at most.
  public var uploadCount = 4
  /// Connections at once, at most; more take the place of the one that has been idle longest.
  public var connectionLimit = 512
  /// Seconds in which the head of a request has to be there.
  public var headSeconds = 10
  /// Seconds that a connection may be idle between two requests.
  public var idleSeconds = 75
  /// Seconds in which a body has to go on.
  public var bodySeconds = 20
  /// Seconds in which a client has to take what is sent.
  public var writeSeconds = 30
  /// Seconds that running answers have when the server is told to end.
  public var graceSeconds = 30

  /// The settings of a server for the machine that it runs on.
  public init() {}

  /// Whether only this machine reaches the server.
  public var isLoopback: Bool {
    host == "localhost" || host == "::1" || host == "[::1]" || Self.isLoopbackAddress(host)
  }

  private static func isLoopbackAddress(_ host: String) -> Bool {
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }
}
