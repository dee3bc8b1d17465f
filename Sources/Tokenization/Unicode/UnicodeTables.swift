/// Looks up what `UnicodeData` lists. The tables are built on first use.
enum UnicodeTables {
  private static let words = ScalarSet(table: UnicodeData.words)
  private static let punctuation = ScalarSet(table: UnicodeData.punctuation)
  private static let digits = ScalarSet(table: UnicodeData.digits)

  /// A part of a word, as the package `regex` of Rust has it.
  static func isWordOfRust(_ scalar: UInt32) -> Bool { words.contains(scalar) }

  static func isPunctuation(_ scalar: UInt32) -> Bool { punctuation.contains(scalar) }

  static func isDigit(_ scalar: UInt32) -> Bool { digits.contains(scalar) }

  /// What a scalar becomes in lower case; nil when it stays.
  static func lowercase(_ scalar: UInt32) -> [UInt32]? { lowercaseMappings[scalar] }

  static let lowercaseMappings = mappings(UnicodeData.lowercase)

  /// A table of scalars and what each becomes.
  static func mappings(_ table: String) -> [UInt32: [UInt32]] {
    var mappings: [UInt32: [UInt32]] = [:]
    var numbers = Numbers(table)
    var scalar = 0
    while let gap = numbers.next(), let count = numbers.next() {
      scalar += gap
      var targets: [UInt32] = []
      for _ in 0..<count { targets.append(UInt32(scalar + (numbers.next() ?? 0))) }
      mappings[UInt32(scalar)] = targets
    }
    return mappings
  }

  /// Reads a table some numbers at a time.
  static func forEachNumber(_ table: String, by count: Int, _ body: ([Int]) -> Void) {
    var numbers = Numbers(table)
    var group: [Int] = []
    while let number = numbers.next() {
      group.append(number)
      if group.count == count {
        body(group)
        group.removeAll(keepingCapacity: true)
      }
    }
  }

  /// The numbers of a table, which spaces or line breaks separate.
  struct Numbers {
    private var bytes: Array<UInt8>.Iterator

    init(_ table: String) { bytes = Array(table.utf8).makeIterator() }

    mutating func next() -> Int? {
      var value: Int?
      var isNegative = false
      while let byte = bytes.next() {
        switch byte {
        case UInt8(ascii: "-"): isNegative = true
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = (value ?? 0) * 10 + Int(byte - UInt8(ascii: "0"))
        default: if let value { return isNegative ? -value : value }
        }
      }
      return value.map { isNegative ? -$0 : $0 }
    }
  }
}
