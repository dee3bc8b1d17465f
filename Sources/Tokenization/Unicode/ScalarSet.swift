/// A set of Unicode scalars, as one bit for each code point.
struct ScalarSet: Equatable, Sendable {
  static let wordCount = 0x110000 / 64
  /// Bit n % 64 of word n / 64 is that of code point n.
  private(set) var words: [UInt64]

  init() { words = [UInt64](repeating: 0, count: Self.wordCount) }

  init(_ ranges: [ClosedRange<UInt32>]) {
    self.init()
    for range in ranges { insert(range) }
  }

  /// The ranges of a table of gaps and lengths.
  init(table: String) {
    self.init()
    var position: UInt32 = 0
    UnicodeTables.forEachNumber(table, by: 2) { numbers in
      position += UInt32(numbers[0])
      insert(position...position + UInt32(numbers[1]) - 1)
      position += UInt32(numbers[1])
    }
  }

  @inline(__always)
  func contains(_ scalar: UInt32) -> Bool { words[Int(scalar >> 6)] >> UInt64(scalar & 63) & 1 != 0 }

  /// - Precondition: the range is below 0x110000.
  mutating func insert(_ range: ClosedRange<UInt32>) {
    for scalar in range { words[Int(scalar >> 6)] |= 1 << UInt64(scalar & 63) }
  }

  mutating func formUnion(_ other: ScalarSet) {
    for index in words.indices { words[index] |= other.words[index] }
  }

  mutating func formIntersection(_ other: ScalarSet) {
    for index in words.indices { words[index] &= other.words[index] }
  }

  mutating func invert() {
    for index in words.indices { words[index] = ~words[index] }
  }

  func union(_ other: ScalarSet) -> ScalarSet {
    var result = self
    result.formUnion(other)
    return result
  }

  var inverted: ScalarSet {
    var result = self
    result.invert()
    return result
  }

  /// Whether it has a scalar from U+0080 on.
  var reachesPastASCII: Bool { words[2...].contains { $0 != 0 } }
}
