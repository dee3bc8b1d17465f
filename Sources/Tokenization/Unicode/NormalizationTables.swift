/// Decompositions, compositions and the order of marks.
struct NormalizationTables: Sendable {
  static let shared = NormalizationTables()

  private let canonical = UnicodeTables.mappings(UnicodeData.canonical)
  private let compatible = UnicodeTables.mappings(UnicodeData.compatible)
  private let classes: [UInt32: UInt8]
  private let compositions: [UInt64: UInt32]
  /// What composes with a scalar before it, vowels and consonants of Hangul not counted.
  private let seconds: Set<UInt32>

  /// A scalar of a decomposed text.
  struct Element {
    var scalar: UInt32
    var combiningClass: UInt8
    var source: Int

    init(scalar: UInt32, source: Int, _ tables: NormalizationTables) {
      self.scalar = scalar
      self.source = source
      combiningClass = scalar < 0x300 ? 0 : tables.classes[scalar] ?? 0
    }
  }

  private init() {
    var classes: [UInt32: UInt8] = [:]
    var position: UInt32 = 0
    UnicodeTables.forEachNumber(UnicodeData.combining, by: 3) { numbers in
      position += UInt32(numbers[0])
      for _ in 0..<numbers[1] {
        classes[position] = UInt8(numbers[2])
        position += 1
      }
    }
    var compositions: [UInt64: UInt32] = [:]
    var seconds: Set<UInt32> = []
    UnicodeTables.forEachNumber(UnicodeData.compositions, by: 3) { numbers in
      compositions[UInt64(numbers[0]) << 32 | UInt64(numbers[1])] = UInt32(numbers[2])
      seconds.insert(UInt32(numbers[1]))
    }
    self.classes = classes
    self.compositions = compositions
    self.seconds = seconds
  }

  // MARK: Hangul

  private static let syllables: UInt32 = 0xAC00
  private static let leads: UInt32 = 0x1100
  private static let vowels: UInt32 = 0x1161
  /// One before the first trailing consonant.
  private static let tails: UInt32 = 0x11A7
  private static let syllableCount: UInt32 = 11172

  /// The full decomposition of a scalar.
  func forEachPart(of scalar: UInt32, _ isCompatible: Bool, _ body: (UInt32) -> Void) {
    if scalar < 0xA0 { return body(scalar) }
    if scalar >= Self.syllables, scalar - Self.syllables < Self.syllableCount {
      let index = scalar - Self.syllables
      body(Self.leads + index / 588)
      body(Self.vowels + index % 588 / 28)
      if index % 28 != 0 { body(Self.tails + index % 28) }
    } else if let parts = isCompatible ? compatible[scalar] ?? canonical[scalar] : canonical[scalar] {
      for part in parts { body(part) }
    } else {
      body(scalar)
    }
  }

  /// Whether a scalar can become one with a scalar before it.
  func composesWithBefore(_ scalar: UInt32) -> Bool {
    seconds.contains(scalar) || (Self.vowels..<Self.vowels + 21).contains(scalar)
      || (Self.tails + 1..<Self.tails + 28).contains(scalar)
  }

  /// Sorts the marks after a starter by their classes; equals stay in order.
  func order(_ run: inout [Element]) {
    var start = 0
    while start < run.count {
      var end = start
      while end < run.count, run[end].combiningClass != 0 { end += 1 }
      if end - start > 1 {
        // Texts have a few marks in a row, hostile ones a million.
        let sorted = run[start..<end].enumerated().sorted {
          ($0.element.combiningClass, $0.offset) < ($1.element.combiningClass, $1.offset)
        }
        for (index, element) in sorted.enumerated() { run[start + index] = element.element }
      }
      start = max(end, start + 1)
    }
  }

  func compose(_ run: inout [Element]) {
    var kept = 0
    var starter: Int?
    var lastClass: UInt8 = 0
    for index in run.indices {
      let element = run[index]
      if let starter,
        kept == starter + 1 || lastClass != 0 && lastClass < element.combiningClass,
        let composed = composition(run[starter].scalar, element.scalar)
      {
        run[starter].scalar = composed
        continue
      }
      if element.combiningClass == 0 { starter = kept }
      lastClass = element.combiningClass
      run[kept] = element
      kept += 1
    }
    run.removeLast(run.count - kept)
  }

  private func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if first >= Self.leads, first - Self.leads < 19, second >= Self.vowels, second - Self.vowels < 21 {
      return Self.syllables + ((first - Self.leads) * 21 + second - Self.vowels) * 28
    }
    if first >= Self.syllables, first - Self.syllables < Self.syllableCount, (first - Self.syllables) % 28 == 0,
      second > Self.tails, second - Self.tails < 28
    {
      return first + second - Self.tails
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
