/// Counts what a rendering uses, and stops it at its limits.
final class Meter {
  let limits: TemplateLimits
  private var steps = 0
  private(set) var bytes = 0

  init(_ limits: TemplateLimits) { self.limits = limits }

  /// Counts a step, and one more for every 32 of `units` that it goes through.
  func step(_ units: Int = 0) throws(TemplateError) {
    steps += 1 + units >> 5  // Counts are bounded by the memory.
    guard steps <= limits.steps else {
      throw TemplateError(.tooManySteps, "the template takes more than \(limits.steps) steps")
    }
  }

  /// Counts a step, and one more for every 4 of `items` that it deals with one by one.
  func work(_ items: Int) throws(TemplateError) { try step(items << 3) }

  /// Refuses `count` bytes more than there are, before they are allocated.
  func check(_ count: Int) throws(TemplateError) {
    guard count <= limits.memoryBytes - bytes else {
      throw TemplateError(.tooMuchMemory, "the template's values take more than \(limits.memoryBytes) bytes")
    }
  }

  func charge(_ count: Int) throws(TemplateError) {
    try check(count)
    bytes += count
  }

  func release(_ count: Int) { bytes -= count }

  // MARK: Values

  func text(_ units: [UInt32], isEscaped: Bool = false) throws(TemplateError) -> Value {
    .text(try Text(units, isEscaped: isEscaped, meter: self))
  }

  func text(_ units: ArraySlice<UInt32>) throws(TemplateError) -> Value {
    try check(units.count * 4)
    return try text(Array(units))
  }

  func text(_ string: String) throws(TemplateError) -> Value { try text(string.unicodeScalars.map(\.value)) }

  func list(_ items: [Value]) throws(TemplateError) -> Value { .list(try Items(items, meter: self)) }

  func tuple(_ items: [Value]) throws(TemplateError) -> Value { .tuple(try Items(items, meter: self)) }

  func generator(_ items: [Value]) throws(TemplateError) -> Value {
    .generator(Generator(try Items(items, meter: self)))
  }
}
