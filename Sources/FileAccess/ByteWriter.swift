/// Appends little-endian fields to an array of bytes.
public struct ByteWriter: Sendable {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  public mutating func integer(_ value: some FixedWidthInteger) {
    unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
  }

  public mutating func append(_ other: some Sequence<UInt8>) {
    bytes.append(contentsOf: other)
  }

  /// Appends zeros up to the next multiple of `alignment`.
  public mutating func pad(to alignment: Int) {
    bytes.append(contentsOf: repeatElement(0, count: CheckedSize.padding(after: bytes.count, to: alignment)))
  }

  /// Appends zeros up to `count` bytes in all.
  public mutating func pad(toByteCount count: Int) {
    precondition(count >= bytes.count, "cannot shorten")
    bytes.append(contentsOf: repeatElement(0, count: count - bytes.count))
  }
}
