/// A text that is being made. Stops before it takes more memory than there is.
struct TextBuilder {
  private(set) var units: [UInt32] = []
  private let meter: Meter

  init(_ meter: Meter) { self.meter = meter }

  private func check(_ count: Int) throws(TemplateError) {
    try meter.step(count)
    try meter.check((units.count + count) * 4)
  }

  mutating func append(_ unit: UInt32) throws(TemplateError) {
    if units.count & 0xFF == 0 {
      try meter.work(0x100)
      try meter.check((units.count + 0x100) * 4)
    }
    units.append(unit)
  }

  mutating func append(_ other: some Collection<UInt32>) throws(TemplateError) {
    try check(other.count)
    units.append(contentsOf: other)
  }

  mutating func append(_ string: String) throws(TemplateError) {
    try check(string.utf8.count)
    for scalar in string.unicodeScalars { units.append(scalar.value) }
  }

  mutating func append(_ unit: UInt32, times count: Int) throws(TemplateError) {
    guard count > 0 else { return }
    guard count <= meter.limits.memoryBytes else { return try meter.check(count) }
    try check(count)
    units.append(contentsOf: repeatElement(unit, count: count))
  }

  /// Follows a marked scalar with its escape: all of it is marked, too.
  mutating func append(_ escape: String, marksOf unit: UInt32) throws(TemplateError) {
    let mark = unit & TemplateString.mark
    for scalar in escape.unicodeScalars { try append(scalar.value | mark) }
  }

  func value() throws(TemplateError) -> Value { try meter.text(units) }
}
