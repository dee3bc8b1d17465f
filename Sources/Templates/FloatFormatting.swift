/// The decimal digits of a number that is finite and not negative: 0.d₁d₂d₃… × 10^point.
struct DecimalDigits {
  /// Without zeros at the start; empty for zero.
  var digits: [UInt8]
  var point: Int

  /// The fewest digits that only this number is nearest to.
  init(shortest value: Double) {
    let parts = value.description.split(separator: "e")
    let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    let fraction = mantissa.count > 1 ? mantissa[1] : ""
    digits = (mantissa[0] + fraction).utf8.map { $0 - 0x30 }
    point = mantissa[0].utf8.count + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
    trim()
  }

  /// All digits.
  init(exact value: Double) {
    guard value != 0 else {
      (digits, point) = ([], 0)
      return
    }
    // value = significand × 2^exponent, the significand being an integer; and 2^-n = 5^n × 10^-n.
    let exponent = max(Int(value.exponent), -1022) - 52
    let bits = value.bitPattern & (1 << 52 - 1)
    let significand = value.isNormal ? bits | 1 << 52 : bits
    var limbs: [UInt32] = []
    var rest = significand
    while rest > 0 {
      limbs.append(UInt32(rest % 1_000_000_000))
      rest /= 1_000_000_000
    }
    var remaining = abs(exponent)
    while remaining > 0 {
      // 5^13 is the largest power that keeps products within 64 bits.
      let count = min(remaining, 13)
      let factor = (0..<count).reduce(UInt64(1)) { product, _ in product * (exponent > 0 ? 2 : 5) }
      var carry: UInt64 = 0
      for index in limbs.indices {
        let product = UInt64(limbs[index]) * factor + carry
        limbs[index] = UInt32(product % 1_000_000_000)
        carry = product / 1_000_000_000
      }
      while carry > 0 {
        limbs.append(UInt32(carry % 1_000_000_000))
        carry /= 1_000_000_000
      }
      remaining -= count
    }
    digits = []
    for limb in limbs.reversed() {
      let text = String(limb)
      digits += Array(repeating: 0, count: 9 - text.utf8.count) + text.utf8.map { $0 - 0x30 }
    }
    point = digits.count + min(exponent, 0)
    trim()
  }

  private mutating func trim() {
    let zeros = digits.prefix { $0 == 0 }.count
    digits.removeFirst(zeros)
    point -= zeros
    while digits.last == 0 { digits.removeLast() }
    if digits.isEmpty { point = 0 }
  }

  /// Rounds to a number of digits, halves to even; the digits must be exact for that.
  mutating func round(toCount count: Int) {
    guard count < digits.count else { return }
    guard count >= 0 else {
      (digits, point) = ([], 0)
      return
    }
    let next = digits[count]
    let isHalf = next == 5 && count + 1 == digits.count
    let isOdd = count > 0 && digits[count - 1] % 2 == 1
    let goesUp = next > 5 || (next == 5 && (!isHalf || isOdd))
    digits.removeSubrange(count...)
    if goesUp {
      var index = count - 1
      while index >= 0, digits[index] == 9 {
        digits[index] = 0
        index -= 1
      }
      if index >= 0 {
        digits[index] += 1
      } else {
        digits.insert(1, at: 0)
        point += 1
      }
    }
    trim()
  }

  /// The digit that stands for 10^power.
  func digit(atPower power: Int) -> UInt8 {
    let index = point - 1 - power
    return digits.indices.contains(index) ? digits[index] : 0
  }
}

enum FloatFormatting {
  /// The most digits after the point.
  static let precisionLimit = 1100

  /// What Python's `repr` gives.
  static func representation(_ value: Double) -> String {
    if let special = special(value) { return special }
    let sign = value.sign == .minus ? "-" : ""
    let decimal = DecimalDigits(shortest: value.magnitude)
    guard !decimal.digits.isEmpty else { return sign + "0.0" }
    if decimal.point > 16 || decimal.point < -3 {
      return sign + scientific(decimal, precision: decimal.digits.count - 1, letter: "e")
    }
    return sign + fixed(decimal, precision: max(1, decimal.digits.count - decimal.point))
  }

  static func special(_ value: Double) -> String? {
    if value.isNaN { return "nan" }
    return value.isInfinite ? (value < 0 ? "-inf" : "inf") : nil
  }

  /// `%f`, `%e` and `%g` of a number that is finite and not negative.
  static func format(_ value: Double, type: Character, precision: Int, isAlternate: Bool = false) -> String {
    var decimal = DecimalDigits(exact: value)
    let letter = type.isUppercase ? "E" : "e"
    switch type {
    case "e", "E":
      decimal.round(toCount: precision + 1)
      return scientific(decimal, precision: precision, letter: letter)
    case "g", "G":
      let count = max(precision, 1)
      decimal.round(toCount: count)
      let exponent = decimal.digits.isEmpty ? 0 : decimal.point - 1
      let kept = isAlternate ? count : max(decimal.digits.count, 1)
      if exponent < -4 || exponent >= count {
        return scientific(decimal, precision: kept - 1, letter: letter)
      }
      return fixed(decimal, precision: max(0, kept - 1 - exponent))
    default:
      decimal.round(toCount: decimal.point + precision)
      return fixed(decimal, precision: precision)
    }
  }

  private static func fixed(_ decimal: DecimalDigits, precision: Int) -> String {
    var text = ""
    for power in stride(from: max(decimal.point - 1, 0), through: 0, by: -1) {
      text.append(Character(Unicode.Scalar(0x30 + decimal.digit(atPower: power))))
    }
    if precision > 0 {
      text += "."
      for power in 1...precision { text.append(Character(Unicode.Scalar(0x30 + decimal.digit(atPower: -power)))) }
    }
    return text
  }

  private static func scientific(_ decimal: DecimalDigits, precision: Int, letter: String) -> String {
    let exponent = decimal.digits.isEmpty ? 0 : decimal.point - 1
    var text = ""
    for index in 0...precision {
      if index == 1 { text += "." }
      text.append(Character(Unicode.Scalar(0x30 + decimal.digit(atPower: exponent - index))))
    }
    let digits = String(abs(exponent))
    return text + letter + (exponent < 0 ? "-" : "+") + (digits.utf8.count < 2 ? "0" : "") + digits
  }

  /// Python's `round`: to a number of decimals, halves of the exact value to even.
  static func round(_ value: Double, decimals: Int) -> Double {
    guard value.isFinite, value != 0 else { return value }
    guard decimals < 400 else { return value }
    guard decimals > -400 else { return value.sign == .minus ? -0.0 : 0.0 }
    var decimal = DecimalDigits(exact: value.magnitude)
    decimal.round(toCount: decimal.point + decimals)
    let digits = decimal.digits.isEmpty ? "0" : String(decoding: decimal.digits.map { $0 + 0x30 }, as: UTF8.self)
    let magnitude = Double("\(digits)e\(decimal.point - decimal.digits.count)") ?? value.magnitude
    return value.sign == .minus ? -magnitude : magnitude
  }
}
