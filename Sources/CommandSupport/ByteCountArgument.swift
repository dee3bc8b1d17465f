import ArgumentParser

/// A number of bytes, as an argument: `800M`, `2G`, with powers of 1024 as control groups have them.
package struct ByteCountArgument: ExpressibleByArgument {
  package let count: Int

  package init(count: Int) { self.count = count }

  package init?(argument: String) {
    let shift: Int? =
      switch argument.last {
      case "K", "k": 10
      case "M", "m": 20
      case "G", "g": 30
      case "T", "t": 40
      default: nil
      }
    guard let number = Int(shift == nil ? argument : String(argument.dropLast())), number >= 0 else { return nil }
    let (count, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    guard !overflow else { return nil }
    self.count = count
  }

  package var defaultValueDescription: String { count >= 1 << 30 ? "\(count >> 30)G" : "\(count >> 20)M" }
}
