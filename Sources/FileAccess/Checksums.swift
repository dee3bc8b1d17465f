internal import CCrypto
internal import CXXHash

/// A SHA-256 digest: the identity of packs, chunks and documents.
public struct Digest256: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// 32 bytes.
  public let bytes: [UInt8]

  public init?(bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    self.bytes = bytes
  }

  /// 64 lower-case hexadecimal digits.
  public init?(hexadecimal: String) {
    let digits = Array(hexadecimal.utf8)
    guard digits.count == 64 else { return nil }
    var bytes: [UInt8] = []
    for pair in stride(from: 0, to: 64, by: 2) {
      guard let high = Self.nibble(digits[pair]), let low = Self.nibble(digits[pair + 1]) else { return nil }
      bytes.append(high << 4 | low)
    }
    self.bytes = bytes
  }

  public init(of message: [UInt8]) {
    var hasher = Hasher256()
    hasher.update(message)
    self = hasher.finalize()
  }

  private static func nibble(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    default: nil
    }
  }

  public var description: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
      decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  public static func < (left: Digest256, right: Digest256) -> Bool {
    left.bytes.lexicographicallyPrecedes(right.bytes)
  }
}

/// SHA-256 over a message that arrives in pieces.
public struct Hasher256: Sendable {
  private var state = SHA256_CTX()

  public init() { unsafe SHA256_Init(&state) }

  public mutating func update(_ bytes: [UInt8]) {
    _ = unsafe bytes.withUnsafeBytes { unsafe SHA256_Update(&state, $0.baseAddress, $0.count) }
  }

  public mutating func update(_ bytes: RawSpan) {
    _ = unsafe bytes.withUnsafeBytes { unsafe SHA256_Update(&state, $0.baseAddress, $0.count) }
  }

  public func finalize() -> Digest256 {
    var state = state
    var bytes = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
    unsafe SHA256_Final(&bytes, &state)
    guard let digest = Digest256(bytes: bytes) else {
      preconditionFailure("SHA-256 has 32 bytes")
    }
    return digest
  }
}

/// XXH3-128: it detects bit rot and misplaced blocks, and never serves as an identity.
public struct BlockChecksum: Hashable, Sendable {
  public let high: UInt64
  public let low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// - Parameter seed: what binds the block to where it belongs.
  public init(of bytes: RawSpan, seed: UInt64) {
    let hash = unsafe bytes.withUnsafeBytes { unsafe XXH3_128bits_withSeed($0.baseAddress, $0.count, seed) }
    self.init(high: hash.high64, low: hash.low64)
  }
}
