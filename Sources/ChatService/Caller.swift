import FileAccess

/// Whose request it is.
public struct Caller: Sendable, Hashable {
  /// Differs for each key; empty where the server takes requests without keys. Documents and kept conversations are of
  /// one scope.
  public let scope: String
  /// Those who wait take turns by it.
  public let client: String

  /// - Parameters:
  ///   - scope: of the key, as ``scope(of:)`` has it; empty for none.
  ///   - client: such as the address that a request comes from.
  public init(scope: String = "", client: String = "") {
    self.scope = scope
    self.client = client
  }

  /// What stands for a key where the key itself must not: 32 hexadecimal digits of a digest.
  public static func scope(of key: String) -> String {
    String(Digest256(of: Array("sharedpack key\0\(key)".utf8)).description.prefix(32))
  }
}
