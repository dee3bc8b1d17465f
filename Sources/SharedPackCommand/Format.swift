/// Numbers as people read them.
enum Format {
  /// A number of bytes, in powers of 1,000.
  static func bytes(_ count: Int) -> String { bytes(Double(count)) }

  /// A number of bytes, in powers of 1,000.
  static func bytes(_ value: Double) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"]
    var value = value
    var index = 0
    while value >= 1000, index < units.count - 1 {
      value /= 1000
      index += 1
    }
    return "\(index == 0 ? String(Int(value)) : rounded(value)) \(units[index])"
  }

  /// Three significant digits, roughly.
  static func rounded(_ value: Double) -> String {
    if value >= 100 { return String(Int(value.rounded())) }
    let scale = value >= 10 ? 10.0 : 100.0
    return String((value * scale).rounded() / scale)
  }

  /// A short time: milliseconds below a second.
  static func latency(_ seconds: Double) -> String {
    seconds < 0.9995 ? "\(rounded(seconds * 1000)) ms" : "\(rounded(seconds)) s"
  }

  /// A number with its noun.
  static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

  /// A long time.
  static func duration(_ seconds: Double) -> String {
    let seconds = Int(min(seconds, 1e7).rounded(.up))
    if seconds < 60 { return "\(seconds) s" }
    if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
    return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
  }
}
